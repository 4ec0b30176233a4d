/**
 * Generates src/api/schema.ts from docs/openapi.json: one TypeScript type for each API schema.
 *
 * Never edit that file by hand; src/api/schema.test.ts fails if it differs from the output of this script.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const SPEC = new URL('../../docs/openapi.json', import.meta.url);
const OUT = new URL('../src/api/schema.ts', import.meta.url);

/** The TypeScript type of one JSON schema. */
function typeOf(schema, indent) {
  if (schema === undefined || schema === true || Object.keys(schema).length === 0) return 'unknown';
  if (schema.$ref) return schema.$ref.split('/').at(-1);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  const union = schema.oneOf ?? schema.anyOf;
  if (union) return nullLast(union.map((one) => typeOf(one, indent)));
  if (schema.allOf) return schema.allOf.map((one) => typeOf(one, indent)).join(' & ');
  const kinds = Array.isArray(schema.type) ? schema.type : [schema.type];
  return nullLast(kinds.map((kind) => plain(kind, schema, indent)));
}

function nullLast(types) {
  const some = types.filter((type) => type !== 'null');
  return [...new Set(some), ...(some.length < types.length ? ['null'] : [])].join(' | ');
}

function plain(kind, schema, indent) {
  switch (kind) {
    case 'null':
    case 'boolean':
    case 'string':
      return kind;
    case 'integer':
    case 'number':
      return 'number';
    case 'array': {
      const item = typeOf(schema.items, indent);
      return /[|&]/.test(item) ? `(${item})[]` : `${item}[]`;
    }
    case 'object':
      if (schema.properties) return objectOf(schema, indent);
      return `Record<string, ${typeOf(schema.additionalProperties, indent)}>`;
    default:
      return 'unknown';
  }
}

function comment(text, indent) {
  if (!text) return '';
  const lines = text.trim().split('\n').map((line) => line.trim());
  if (lines.length === 1) return `${indent}/** ${lines[0]} */\n`;
  return `${indent}/**\n${lines.map((line) => `${indent} * ${line}`.trimEnd()).join('\n')}\n${indent} */\n`;
}

function objectOf(schema, indent) {
  const required = new Set(schema.required ?? []);
  const inner = `${indent}  `;
  const fields = Object.entries(schema.properties).map(([name, field]) => {
    const key = /^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name);
    return `${comment(field.description, inner)}${inner}${key}${required.has(name) ? '' : '?'}: ${typeOf(field, inner)};\n`;
  });
  return `{\n${fields.join('')}${indent}}`;
}

/** The whole file for a parsed OpenAPI document. */
export function generate(spec) {
  const schemas = Object.entries(spec.components.schemas).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const types = schemas.map(([name, schema]) => {
    const isObject = schema.type === 'object' && schema.properties;
    const body = typeOf(schema, '');
    return comment(schema.description, '') + (isObject ? `export interface ${name} ${body}\n` : `export type ${name} = ${body};\n`);
  });
  return `/** Types of the API. Written by scripts/api-types.mjs from docs/openapi.json; do not edit. */\n\n${types.join('\n')}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await writeFile(OUT, generate(JSON.parse(await readFile(SPEC, 'utf8'))));
}
