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

export interface Statement {
  text: string;
  values: unknown[];
}

/** All statements that any connection of this process sends while `work` runs, in order. */
export async function queriesDuring(work: () => Promise<unknown>): Promise<Statement[]> {
  const sent: Statement[] = [];
  const { query } = pg.Client.prototype;
  pg.Client.prototype.query = function (this: pg.Client, ...input: unknown[]) {
    const [first, second] = input;
    const { text, values = second } =
      typeof first === 'string' ? { text: first } : (first as { text: string; values?: unknown });
    sent.push({ text, values: Array.isArray(values) ? values : [] });
    return Reflect.apply(query, this, input);
  } as typeof query;
  try {
    await work();
  } finally {
    pg.Client.prototype.query = query;
  }
  return sent;
}

/** Their texts. */
export async function sentDuring(work: () => Promise<unknown>): Promise<string[]> {
  return (await queriesDuring(work)).map(({ text }) => text);
}

export const readsOrWrites = (text: string): boolean =>
  /^\s*(with|select|insert|update|delete)\b/i.test(text);

/** Of those, each once, that read or write rows. */
export async function statementsOf(work: () => Promise<unknown>): Promise<string[]> {
  const texts = new Set(await sentDuring(work));
  return [...texts].filter(readsOrWrites);
}

type PlanNode = Record<string, unknown> & { Plans?: PlanNode[] };

const nodesOf = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)];

/** Runs it. @returns how many rows all nodes of its plan handled, those that they dropped included */
export async function rowsHandled(client: pg.Client, { text, values }: Statement): Promise<number> {
  const { rows } = await client.query(`explain (analyze, timing off, format json) ${text}`, values);
  const nodes = nodesOf(rows[0]['QUERY PLAN'][0].Plan);
  const counted = ['Actual Rows', 'Rows Removed by Filter', 'Rows Removed by Join Filter'];
  const ofNode = (node: PlanNode) => counted.reduce((sum, name) => sum + Number(node[name] ?? 0), 0);
  return nodes.reduce((sum, node) => sum + ofNode(node) * Number(node['Actual Loops']), 0);
}

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
