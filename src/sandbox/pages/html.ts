const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Value = string | number | Html | readonly Html[];

const render = (value: Value): string => {
  if (value instanceof Html) return value.text;
  if (typeof value === 'object') return value.map((one) => one.text).join('');
  return String(value).replaceAll(/[&<>"']/g, (char) => ENTITIES[char] ?? char);
};

/** Everything put into the template is escaped unless it is itself a template. */
export function html(strings: TemplateStringsArray, ...values: Value[]): Html {
  return new Html(
    strings.map((text, index) => text + (index < values.length ? render(values[index] ?? '') : '')).join(''),
  );
}

const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:30rem;margin:3rem auto;padding:0 1rem;color:#1a1f36}
h1{font-size:1.3rem}table{width:100%;border-collapse:collapse;margin:1rem 0}td{padding:.4rem 0;border-bottom:1px solid #e3e8ee}
td:last-child{text-align:right}form{margin:.5rem 0}button{font:inherit;width:100%;padding:.6rem;border:1px solid #c1c9d2;
border-radius:6px;background:#fff;cursor:pointer}button.main{background:#635bff;color:#fff;border-color:#635bff}
input{font:inherit;width:100%;padding:.5rem;border:1px solid #c1c9d2;border-radius:6px;box-sizing:border-box}
.note{background:#fdf6e3;padding:.6rem;border-radius:6px}.test{color:#697386;font-size:.85rem}`;

export function document(title: string, body: Html): string {
  return html`<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>${new Html(STYLE)}</style></head>
<body><p class="test">Stripe sandbox: no real money moves here.</p>${body}</body></html>`.text;
}

export type { Html };
