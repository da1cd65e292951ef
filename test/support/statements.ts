// Which statements the code sends, and which rows of users' tables PostgreSQL's planner reads for them: what Citus, which
// plans with the same planner, needs in order to send a statement to one node.
import pg from 'pg';

export interface Scan {
  table: string;
  conditions: string;
}

export interface Planned {
  text: string;
  /** Rows read of tables that have a bucket; those of others by name. */
  scans: Scan[];
  otherTables: string[];
  /** Into a table that has a bucket. */
  inserts: string[];
}

/** The texts of all statements that any connection of this process sends while `work` runs, in order. */
export async function sentDuring(work: () => Promise<unknown>): Promise<string[]> {
  const texts: string[] = [];
  const { query } = pg.Client.prototype;
  pg.Client.prototype.query = function (this: pg.Client, ...input: unknown[]) {
    const [first] = input;
    texts.push(typeof first === 'string' ? first : (first as { text: string }).text);
    return Reflect.apply(query, this, input);
  } as typeof query;
  try {
    await work();
  } finally {
    pg.Client.prototype.query = query;
  }
  return texts;
}

/** Of those, each once, that read or write rows. */
export async function statementsOf(work: () => Promise<unknown>): Promise<string[]> {
  const texts = new Set(await sentDuring(work));
  return [...texts].filter((text) => /^\s*(with|select|insert|update|delete)\b/i.test(text));
}

type PlanNode = Record<string, unknown> & { Plans?: PlanNode[] };

const nodesOf = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)];

export async function planOf(client: pg.Client, text: string, users: ReadonlySet<string>): Promise<Planned> {
  const { rows } = await client.query(`explain (generic_plan, format json) ${text}`);
  const nodes = nodesOf(rows[0]['QUERY PLAN'][0].Plan);
  const read = nodes.filter((node) => 'Relation Name' in node && node['Node Type'] !== 'ModifyTable');
  const scans = read.map((node) => ({
    table: String(node['Relation Name']),
    // The index of a bitmap is a node below; what it was asked is repeated as the condition to recheck.
    conditions: ['Index Cond', 'Recheck Cond', 'Filter'].map((name) => node[name] ?? '').join(' '),
  }));
  return {
    text,
    scans: scans.filter(({ table }) => users.has(table)),
    otherTables: scans.map(({ table }) => table).filter((table) => !users.has(table)),
    inserts: nodes
      .filter((node) => node.Operation === 'Insert' && users.has(String(node['Relation Name'])))
      .map((node) => String(node['Relation Name'])),
  };
}
