// A database as prisma/citus.sql leaves it, on plain PostgreSQL. Citus cannot be installed with npm: in place of its
// functions stand some that move no row, but refuse what Citus 13 refuses (its sources: create_distributed_table.c,
// foreign_constraint.c, truncate.c). So all of ours is real: the file, its order, the functions in their second form.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import pg from 'pg';

export const CITUS_SQL = readFileSync(
  fileURLToPath(new URL('../../prisma/citus.sql', import.meta.url)),
  'utf8',
);

const RULES = `
create table pg_dist_partition (logicalrelid regclass primary key, partkey text not null);
create table distributed_functions (name regprocedure primary key, argument text not null);

create function create_distributed_table(relation regclass, column_name text, colocate_with text)
returns void language plpgsql as $$
declare
  place smallint := (select attnum from pg_attribute where attrelid = relation and attname = column_name);
  each record;
begin
  if exists (select from pg_dist_partition where logicalrelid = relation) then
    raise exception 'table "%" is already distributed', relation;
  end if;
  if colocate_with <> 'none' and not exists (select from pg_dist_partition where logicalrelid = colocate_with::regclass) then
    raise exception 'relation % is not distributed', colocate_with;
  end if;
  for each in select indexrelid::regclass as name from pg_index
    where indrelid = relation and indisunique and not place = any(indkey) loop
    raise exception 'cannot create constraint on "%": % must include the partition column', relation, each.name;
  end loop;
  for each in select * from pg_constraint where conrelid = relation and contype = 'f' loop
    if not exists (select from pg_dist_partition where logicalrelid = each.confrelid) then
      raise exception 'referenced table "%" must be a distributed table or a reference table', each.confrelid::regclass;
    end if;
    if array_position(each.conkey, place) is distinct from array_position(each.confkey,
      (select attnum from pg_attribute where attrelid = each.confrelid and attname = column_name)) then
      raise exception 'cannot create foreign key constraint %', each.conname;
    end if;
    if each.confupdtype in ('c', 'n', 'd') or each.confdeltype in ('n', 'd') then
      raise exception 'SET NULL, SET DEFAULT or CASCADE is not supported in ON UPDATE operation: %', each.conname;
    end if;
  end loop;
  if exists (select from pg_statistic_ext where stxrelid = relation and stxexprs is not null) then
    raise exception 'only simple column references are allowed in CREATE STATISTICS';
  end if;
  if current_setting('citus.enable_unsafe_triggers', true) is distinct from 'on'
    and exists (select from pg_trigger where tgrelid = relation and not tgisinternal) then
    raise exception 'cannot distribute relation "%" because it has triggers', relation;
  end if;
  insert into pg_dist_partition values (relation, column_name);
end $$;

create function truncate_local_data_after_distributing_table(relation regclass) returns void language plpgsql as $$
begin
  if exists (select from pg_constraint where confrelid = relation and contype = 'f'
    and conrelid not in (select logicalrelid from pg_dist_partition)) then
    raise exception 'cannot truncate a table referenced in a foreign key constraint by a local table';
  end if;
  -- It truncates these as well, and fires their triggers.
  if exists (select from pg_trigger t join pg_constraint c on c.conrelid = t.tgrelid
    where c.confrelid = relation and not t.tgisinternal and t.tgtype & 32 > 0) then
    raise exception 'a trigger refuses it';
  end if;
end $$;

create function create_distributed_function(name regprocedure, argument text, colocate_with text)
returns void language plpgsql as $$
begin
  if not exists (select from pg_dist_partition d join pg_attribute a on a.attrelid = d.logicalrelid and a.attname = d.partkey
    join pg_proc p on p.oid = name where d.logicalrelid = colocate_with::regclass
    and p.proargtypes[array_position(p.proargnames, argument) - 1] = a.atttypid) then
    raise exception 'cannot distribute the function "%" by its argument %', name, argument;
  end if;
  insert into distributed_functions values (name, argument) on conflict do nothing;
end $$;`;

/** As a client does that sends the whole file: in one transaction. */
export async function distribute(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(RULES);
    await client.query(CITUS_SQL);
  } finally {
    await client.end();
  }
}
