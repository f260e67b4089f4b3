// Every target and variable of the dashboards, and requests of all forms, against a server: usage targets.mjs URL DIR
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { FieldType, frames, post, replaced, request } from './plugin.mjs';

const [, , url, directory] = process.argv;
const claim = (name, why) => console.log(why ? `FAIL ${name}: ${why}` : `pass ${name}`);

// Why these are no frames that a panel can draw; nothing where they are.
const wrong = (list) => {
  for (const frame of list) {
    if (frame.refId === undefined) return 'a frame without refId';
    const lengths = new Set(frame.fields.map((field) => field.values.length));
    if (lengths.size > 1) return `fields of different lengths in ${frame.name}`;
    for (const field of frame.fields) {
      const known = [FieldType.time, FieldType.number, FieldType.string, FieldType.boolean];
      if (!known.includes(field.type)) return `${frame.name}: ${field.name} is ${field.type}`;
      const types = { time: 'number', number: 'number', string: 'string', boolean: 'boolean' };
      const odd = field.values.find((value) => value !== null && typeof value !== types[field.type]);
      if (odd !== undefined) return `${frame.name}: ${field.name} is ${field.type} and has ${JSON.stringify(odd)}`;
    }
  }
  return undefined;
};

// Why the answer to these targets is wrong; else how much it has.
const asked = async (targets, variables, more) => {
  const { status, body } = await post(url, '/query', request(targets, variables, more));
  if (status !== 200) return { why: `${status} ${JSON.stringify(body)}` };
  if (!Array.isArray(body)) return { why: 'no array' };
  try {
    const list = frames(body);
    const rows = list.reduce((sum, frame) => sum + frame.length, 0);
    return { why: wrong(list), rows, list };
  } catch (error) {
    return { why: `toDataFrame threw ${error.message}` };
  }
};

const column = (list, name) => list[0].fields.find((field) => field.name === name).values;
const values = async (key, filters = []) => {
  const { body } = await post(url, '/tag-values', { key, filters });
  return body.map((value) => value.text);
};

const tenants = await values('tenant_id');
const agents = await values('agent_id');
const models = await values('model');

// What there is nothing of in quiet traffic: incidents, and what the hourly jobs would find.
const MAY_BE_EMPTY = new Set([
  'Outages', 'Time to recover', 'Drift of latency', 'Drift and anomalies', 'Drift and anomalies that the hourly jobs found',
  'Answers that are most likely made up', 'KPI alerts',
]);

// ---- dashboards
for (const file of readdirSync(directory).sort()) {
  const dashboard = JSON.parse(readFileSync(join(directory, file), 'utf8'));
  const variables = { reference_days: '1' };
  for (const variable of dashboard.templating.list.filter((one) => one.type === 'query')) {
    const target = replaced(variable.query.query, { tenant: '.*' });
    const { status, body } = await post(url, '/variable', { payload: { target }, range: request([], {}).range });
    const ok = status === 200 && body.length > 0 && body.every((one) => one.__text !== undefined);
    claim(`${file}: variable ${variable.name}`, ok ? undefined : `${status} ${JSON.stringify(body)}`);
  }
  const sets = [
    { ...variables, tenant: '.*', agent: '.*', model: '.*' },
    { ...variables, tenant: [tenants[0]], agent: '.*', model: models.slice(0, 2) },
    { ...variables, tenant: tenants.slice(0, 2), agent: agents.slice(0, 3), model: '.*' },
  ];
  const panels = dashboard.panels.map((panel) => [panel.title, panel.targets]);
  const annotations = dashboard.annotations.list.filter((one) => !one.builtIn).map((one) => [one.name, [one.target]]);
  for (const [title, targets] of [...panels, ...annotations]) {
    let why, rows = 0;
    for (const set of sets) {
      const answer = await asked(targets, set);
      why ??= answer.why;
      rows += answer.rows ?? 0;
    }
    if (rows === 0 && !MAY_BE_EMPTY.has(title)) why ??= 'no rows';
    claim(`${file}: ${title}, ${rows} rows`, why);
  }
}

// ---- filters
const statement = { refId: 'A', target: 'sql', payload: { q: 'select model, agent_id, latency_ms from agent_logs' } };
const all = (await asked([statement], {})).list;
const filtered = async (name, filters, keeps) => {
  const { why, list } = await asked([statement], {}, { filters });
  if (why) return claim(`filter ${name}`, why);
  const [model, latency] = [column(list, 'model'), column(list, 'latency_ms')];
  const expected = column(all, 'model').filter((one, at) => keeps(one ?? '', column(all, 'latency_ms')[at])).length;
  const kept = model.every((one, at) => keeps(one ?? '', latency[at]));
  claim(`filter ${name}: ${model.length} of ${all[0].length} calls`, kept && model.length === expected ? undefined : `expected ${expected}`);
};
const [first, second] = models;
const key = 'model';
await filtered('=', [{ key, operator: '=', value: first }], (model) => model === first);
await filtered('!=', [{ key, operator: '!=', value: first }], (model) => model !== first);
await filtered('=~', [{ key, operator: '=~', value: 'gpt.*' }], (model) => /^(?:gpt.*)$/.test(model));
await filtered('!~', [{ key, operator: '!~', value: 'gpt.*' }], (model) => !/^(?:gpt.*)$/.test(model));
await filtered('=|', [{ key, operator: '=|', value: first, values: [first, second] }], (model) => [first, second].includes(model));
await filtered('!=|', [{ key, operator: '!=|', value: first, values: [first, second] }], (model) => ![first, second].includes(model));
await filtered('<', [{ key: 'latency_ms', operator: '<', value: '1000' }], (_, latency) => latency !== null && latency < 1000);
await filtered('>', [{ key: 'latency_ms', operator: '>', value: '1000' }], (_, latency) => latency !== null && latency > 1000);

// ---- forms of requests
const total = { refId: 'A', target: 'cost_total', payload: {} };
const tolerated = async (name, change) => {
  const body = request([total], {});
  change(body);
  const { status, body: answer } = await post(url, '/query', body);
  let why = status === 200 ? undefined : `${status} ${JSON.stringify(answer)}`;
  why ??= wrong(frames(answer));
  claim(`a request ${name}`, why);
};
for (const field of ['maxDataPoints', 'intervalMs', 'panelId', 'filters', 'scopedVars', 'range', 'requestId', 'app']) {
  await tolerated(`without ${field}`, (body) => delete body[field]);
  await tolerated(`with ${field} null`, (body) => (body[field] = null));
}
await tolerated('with a text as panelId', (body) => (body.panelId = 'panel-2'));
await tolerated('with a text as maxDataPoints', (body) => (body.maxDataPoints = '500'));
await tolerated('with unknown fields', (body) => (body.unknown = { deep: [1] }));
await tolerated('with a number as refId', (body) => (body.targets[0].refId = 7));
await tolerated('with scopedVars of lists', (body) => (body.scopedVars = { a: { text: ['x'], value: ['x', 'y'] } }));
await tolerated('without a payload', (body) => delete body.targets[0].payload);
await tolerated('with a text as payload', (body) => (body.targets[0].payload = '{"tenant_id": ""}'));
await tolerated('with a placeholder among targets', (body) => body.targets.push({ refId: 'B' }));

// ---- lists
const lists = async (path, body, fits) => {
  const { status, body: answer } = await post(url, path, body);
  const ok = status === 200 && Array.isArray(answer) && answer.length > 0 && answer.every(fits);
  claim(`${path} ${JSON.stringify(body)}, ${answer?.length} elements`, ok ? undefined : JSON.stringify(answer).slice(0, 300));
};
const isMetric = (metric) => typeof metric.value === 'string' && metric.payloads.every((field) => typeof field.name === 'string');
await lists('/metrics', {}, isMetric);
await lists('/metrics', { metric: 'cost', payload: {} }, isMetric);
await lists('/metric-payload-options', { metric: 'cost', payload: {}, name: 'group_by' }, (option) => option.value !== undefined);
await lists('/metric-payload-options', { metric: 'cost', payload: {}, name: 'model' }, (option) => option.value !== undefined);
await lists('/tag-keys', '', (tag) => tag.text !== undefined && tag.type !== undefined);
await lists('/tag-values', { key: 'model', filters: [{ key: 'agent_id', operator: '=', value: agents[0] }] }, (tag) => tag.text);

// ---- errors as Grafana shows them
const refusal = async (name, body, status) => {
  const answer = await post(url, '/query', body);
  const ok = answer.status === status && typeof answer.body.message === 'string' && answer.body.error.message === answer.body.message;
  claim(`${name}: ${answer.body?.message}`, ok ? undefined : `${answer.status} ${JSON.stringify(answer.body)}`);
};
await refusal('an unknown metric', request([{ refId: 'A', target: 'nothing' }], {}), 404);
await refusal('a statement that writes', request([{ refId: 'A', target: 'sql', payload: { q: 'drop table agent_logs' } }], {}), 400);
await refusal('a filter of no column', request([total], {}, { filters: [{ key: 'nothing', operator: '=', value: 'x' }] }), 400);
