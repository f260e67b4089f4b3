// Dashboards against the types of @grafana/schema: usage schema.mjs NPM DIRECTORY
//
// The package has types and no validator, so TypeScript checks the files as literals, unknown properties included.
// Its enums take no literals; in a copy of the types they become the unions of their values. What Grafana reads and
// its schema does not have is written out below.
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

const [, , npm, directory] = process.argv;
const work = join(npm, 'schema-check');
rmSync(work, { recursive: true, force: true });
mkdirSync(work);
cpSync(join(npm, 'node_modules/@grafana/schema/dist/types'), join(work, 'schema'), { recursive: true });

const withoutEnums = (path) => {
  for (const name of readdirSync(path)) {
    const file = join(path, name);
    if (statSync(file).isDirectory()) withoutEnums(file);
    else if (name.endsWith('.d.ts')) {
      const text = readFileSync(file, 'utf8').replace(/export declare enum (\w+) \{([^}]*)\}/g, (_, enumeration, body) => {
        const members = body.replace(/\/\*[\s\S]*?\*\//g, '').split(',').map((member) => member.split('=')[1]?.trim());
        return `export type ${enumeration} = ${members.filter(Boolean).join(' | ') || 'never'};`;
      });
      writeFileSync(file, text);
    }
  }
};
withoutEnums(join(work, 'schema'));

const types = `
import type { AnnotationQuery, Dashboard, DataQuery, FieldConfigSource, Panel, VariableModel } from '@grafana/schema';
import type { Options as StatOptions } from './schema/raw/composable/stat/panelcfg/x/types.gen';
import type { Options as TableOptions, FieldConfig as TableConfig } from './schema/raw/composable/table/panelcfg/x/types.gen';
import type { Options as TimeOptions, FieldConfig as TimeConfig } from './schema/raw/composable/timeseries/panelcfg/x/types.gen';

// The queries of the two datasources are their plugins' own.
type Own = { target: string; editorMode: 'builder'; payload: { [name: string]: string } };
type Prometheus = { expr: string; legendFormat?: string; editorMode: 'code'; range?: boolean; instant?: boolean; format?: 'table' };
type Target = DataQuery & (Own | Prometheus);
type Of<Type, Options, Config> = Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> & {
  type: Type; options: Options; fieldConfig: FieldConfigSource<Config>; targets: Target[];
};
type OurPanel =
  | Of<'timeseries', TimeOptions, TimeConfig>
  | Of<'stat', StatOptions, Record<string, never>>
  | Of<'table', Partial<TableOptions>, Partial<TableConfig>>;
// What the schema does not have: the text of a query as a list shows it, filters of an ad-hoc variable, where the
// parts of an annotation are found, and how Prometheus writes them.
type Variable = VariableModel & { definition?: string; filters?: never[] };
type Mapping = { source: 'field' | 'text' | 'skip'; value: string };
type Annotation = Omit<AnnotationQuery, 'target'> & {
  target?: Target; mappings?: { [part: string]: Mapping }; titleFormat?: string; textFormat?: string; step?: string; expr?: string;
};
export type Ours = Omit<Dashboard, 'panels' | 'templating' | 'annotations'> & {
  schemaVersion: 42; uid: string; title: string; panels: OurPanel[]; templating: { list: Variable[] }; annotations: { list: Annotation[] };
};
`;
writeFileSync(join(work, 'ours.ts'), types);

const check = (name, json) => {
  const file = join(work, `${name}.ts`);
  writeFileSync(file, `import type { Ours } from './ours';\nexport const dashboard: Ours = ${json};\n`);
  return file;
};
const options = {
  strict: true, noEmit: true, skipLibCheck: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler, baseUrl: work, paths: { '@grafana/schema': ['./schema/index.d.ts'] },
  types: [], typeRoots: [],
};

const files = new Map();
const uids = new Set();
for (const variant of ['driftline', 'prometheus']) {
  for (const name of readdirSync(join(directory, variant)).sort()) {
    const json = readFileSync(join(directory, variant, name), 'utf8');
    const dashboard = JSON.parse(json);
    files.set(check(`${variant}-${name.replace('.json', '')}`, json), `${variant}/${name}`);
    const why = [];
    if (uids.has(dashboard.uid) || dashboard.uid.length > 40) why.push(`uid ${dashboard.uid}`);
    uids.add(dashboard.uid);
    const cells = new Set();
    for (const { id, title, gridPos: { h, w, x, y } } of dashboard.panels) {
      if (x + w > 24 || !id || !title) why.push(`panel ${id} ${title} is out of place`);
      for (let row = y; row < y + h; row += 1)
        for (let at = x; at < x + w; at += 1) {
          if (cells.has(`${row} ${at}`)) why.push(`panel ${title} lies on another`);
          cells.add(`${row} ${at}`);
        }
    }
    console.log(why.length ? `FAIL ${variant}/${name}: ${why[0]}` : `pass ${variant}/${name} has a uid of its own and no panel on another`);
  }
}
// Does the check see what is wrong?
const sample = JSON.parse(readFileSync(join(directory, 'driftline/overview.json'), 'utf8'));
const broken = {
  'a panel of an unknown property': (one) => (one.panels[0].unknown = 1),
  'a panel without targets': (one) => delete one.panels[0].targets,
  'a color mode that is none': (one) => (one.panels[0].fieldConfig.defaults.color.mode = 7),
  'a variable of an unknown type': (one) => (one.templating.list[0].type = 'list'),
  'a stacking that is none': (one) => (one.panels.find((panel) => panel.type === 'timeseries').fieldConfig.defaults.custom.stacking.mode = 'up'),
};
const spoiled = new Map();
Object.entries(broken).forEach(([name, spoil], number) => {
  const copy = structuredClone(sample);
  spoil(copy);
  spoiled.set(check(`spoiled-${number}`, JSON.stringify(copy)), name);
});

const program = ts.createProgram([...files.keys(), ...spoiled.keys()], options);
const problems = (file) => {
  const source = program.getSourceFile(file);
  return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map((one) => {
    const { line } = source.getLineAndCharacterOfPosition(one.start ?? 0);
    return `line ${line}: ${ts.flattenDiagnosticMessageText(one.messageText, ' ')}`.replace(/\s+/g, ' ').slice(0, 600);
  });
};
const own = problems(join(work, 'ours.ts'));
console.log(own.length ? `FAIL the types of @grafana/schema are found: ${own[0]}` : 'pass the types of @grafana/schema are found');
for (const [file, name] of files) {
  const found = problems(file);
  console.log(found.length ? `FAIL ${name} is of Grafana's types: ${found[0]}` : `pass ${name} is of Grafana's types`);
}
for (const [file, name] of spoiled) {
  console.log(problems(file).length ? `pass ${name} is found` : `FAIL ${name} is not found`);
}
