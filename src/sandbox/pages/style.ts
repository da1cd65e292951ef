/** One small sheet for all pages; no scripts, no fonts or images from elsewhere. */
export const STYLE = `
:root{--ink:#1a1f36;--soft:#5b6478;--line:#e3e8ee;--main:#4f46e5;--bad:#b3093c;--badback:#fdecf0;--good:#0e6245;--goodback:#e6f6ee;--back:#f6f8fa}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:var(--ink);background:var(--back);margin:0}
.test{margin:0;padding:.4rem 1rem;background:#fff4d6;color:#6b4e00;font-size:.85rem;text-align:center}
.test strong{margin-right:.4rem}
main{max-width:60rem;margin:0 auto;padding:2rem 1rem 4rem}
h1{font-size:1.35rem;margin:0 0 .25rem}h2{font-size:1.05rem;margin:0 0 .75rem}
a{color:var(--main)}
.columns{display:grid;grid-template-columns:1fr 1fr;gap:2.5rem;align-items:start}
@media(max-width:46rem){.columns{grid-template-columns:1fr;gap:1.5rem}}
.narrow{max-width:32rem;margin:0 auto}
.card{background:#fff;border:1px solid var(--line);border-radius:10px;padding:1.5rem;margin:0 0 1.25rem;box-shadow:0 1px 2px #1a1f3610}
.price{font-size:2rem;font-weight:650;line-height:1.2;margin:.25rem 0}
.soft{color:var(--soft);margin:.15rem 0}
table{width:100%;border-collapse:collapse;margin:.75rem 0}
th{text-align:left;font-weight:500;color:var(--soft);font-size:.85rem;padding:.3rem .5rem .3rem 0}
td{padding:.5rem .5rem .5rem 0;border-top:1px solid var(--line);vertical-align:top}
th:last-child,td:last-child{text-align:right;padding-right:0}
tr.total td{font-weight:650}
form{margin:0}
fieldset{border:0;padding:0;margin:0 0 1rem}legend{font-weight:600;padding:0;margin-bottom:.5rem}
.field{display:block;margin:0 0 1rem}.field span{display:block;font-weight:600;margin-bottom:.25rem}
input[type=text],input[type=email],input[type=number],textarea,select{font:inherit;width:100%;padding:.55rem .7rem;border:1px solid #c1c9d2;border-radius:6px;background:#fff}
.choice{display:flex;gap:.7rem;align-items:baseline;padding:.65rem .8rem;border:1px solid var(--line);border-radius:6px;margin:0 0 .4rem;cursor:pointer;background:#fff}
.choice:has(input:checked){border-color:var(--main);box-shadow:0 0 0 1px var(--main)}
.choice b{font-weight:550;font-variant-numeric:tabular-nums;white-space:nowrap}.choice small{color:var(--soft);margin-left:auto;text-align:right}
button,.button{display:block;width:100%;font:inherit;font-weight:600;text-align:center;text-decoration:none;padding:.65rem 1rem;border:1px solid #c1c9d2;border-radius:6px;background:#fff;color:var(--ink);cursor:pointer;margin:0 0 .5rem}
button:hover,.button:hover{border-color:#8792a2}
button.main{background:var(--main);border-color:var(--main);color:#fff}button.main:hover{background:#4038c7}
button.danger{background:var(--bad);border-color:var(--bad);color:#fff}
:focus-visible{outline:3px solid #a5b4fc;outline-offset:1px}
.row{display:flex;gap:.6rem;align-items:end}.row>.field{flex:1;margin:0}.row>button{width:auto;margin:0}
.actions{display:flex;gap:.6rem;flex-wrap:wrap;margin-top:1rem}.actions>*{width:auto}.actions button,.actions .button{width:auto;margin:0;font-size:.92rem;padding:.45rem .8rem}
.note{padding:.75rem 1rem;border-radius:6px;margin:0 0 1.25rem;background:var(--goodback);color:var(--good)}
.note.bad{background:var(--badback);color:var(--bad)}
.badge{display:inline-block;font-size:.78rem;font-weight:600;padding:.1rem .5rem;border-radius:99px;background:var(--line);color:var(--soft);vertical-align:middle}
.badge.good{background:var(--goodback);color:var(--good)}.badge.bad{background:var(--badback);color:var(--bad)}
.back{display:inline-block;margin:0 0 1rem;text-decoration:none;color:var(--soft)}.back:hover{text-decoration:underline}
`;
