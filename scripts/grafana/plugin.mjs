// What simpod-json-datasource 0.6 does with a dashboard: it puts variables into targets, sends them, and hands each
// element of the answer to Grafana's toDataFrame.
import { createRequire } from 'node:module';

// The package's ES modules import what Node cannot; its CommonJS is the same code.
export const { FieldType, toDataFrame } = createRequire(import.meta.url)('@grafana/data');

export const escapeRegex = (value) => value.replace(/[\\^$*+?.()|[\]{}/]/g, '\\$&');

// Grafana's format "regex": one value escaped, several as (a|b), and what stands for all as it is.
export const asRegex = (value) => {
  if (value === '.*') return value;
  if (!Array.isArray(value)) return escapeRegex(String(value));
  const parts = value.map((part) => escapeRegex(String(part)));
  return parts.length === 1 ? parts[0] : `(${parts.join('|')})`;
};

export const replaced = (text, variables) =>
  String(text).replace(/\$(\w+)|\$\{(\w+)(?::\w+)?\}/g, (whole, plain, braced) => {
    const name = plain ?? braced;
    return name in variables ? asRegex(variables[name]) : whole;
  });

// Builder mode: every value of the payload becomes a text. One that is null throws, and all is lost.
const processPayload = (payload, variables) => {
  try {
    const out = typeof payload === 'string' ? JSON.parse(payload) : { ...payload };
    for (const key of Object.keys(out)) {
      out[key] = Array.isArray(out[key])
        ? out[key].map((item) => replaced(item.toString(), variables))
        : replaced(out[key].toString(), variables);
    }
    return out;
  } catch {
    return {};
  }
};

export const request = (targets, variables, more = {}) => {
  const to = Date.now();
  const from = to - 24 * 3600 * 1000;
  return {
    requestId: 'Q100', app: 'dashboard', panelId: 2, dashboardUID: 'd', timezone: 'browser', interval: '1m',
    intervalMs: 60000, maxDataPoints: 1440, startTime: to, filters: [],
    range: { from: new Date(from).toISOString(), to: new Date(to).toISOString(), raw: { from: 'now-24h', to: 'now' } },
    rangeRaw: { from: 'now-24h', to: 'now' },
    scopedVars: Object.fromEntries(
      Object.entries(variables).map(([name, value]) => [name, { selected: false, text: value, value }])
    ),
    targets: targets
      .filter((target) => target.target !== undefined)
      .map((target) => ({
        ...target,
        payload: processPayload(target.payload ?? '', variables),
        target: replaced(target.target, variables),
      })),
    ...more,
  };
};

export const post = async (url, path, body) => {
  const response = await fetch(`${url}/grafana${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? null : JSON.parse(text) };
};

export const frames = (body) => body.map(toDataFrame);
