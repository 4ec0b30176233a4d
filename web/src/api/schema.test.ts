/** The generated types match the API document. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
// @ts-expect-error a script without types of its own
import { generate } from '../../scripts/api-types.mjs';

const at = (path: string) => readFileSync(resolve(import.meta.dirname, path), 'utf8');

describe('schema.ts', () => {
  it('matches docs/openapi.json; if not, run `npm run types` in web/', () => {
    expect(at('schema.ts')).toBe(generate(JSON.parse(at('../../../docs/openapi.json'))));
  });

  it('spells optional, nullable, referenced and listed fields', () => {
    const text = generate({
      components: {
        schemas: {
          B: { type: 'string', enum: ['x', 'y'] },
          A: {
            type: 'object',
            description: 'An A.',
            required: ['one'],
            properties: {
              one: { type: 'integer' },
              two: { type: ['string', 'null'], description: 'Perhaps.' },
              three: { oneOf: [{ type: 'null' }, { $ref: '#/components/schemas/B' }] },
              four: { type: 'array', items: { $ref: '#/components/schemas/B' } },
              five: {},
            },
          },
        },
      },
    });
    expect(text).toContain('/** An A. */\nexport interface A {\n  one: number;\n  /** Perhaps. */\n  two?: string | null;\n');
    expect(text).toContain('  three?: B | null;\n  four?: B[];\n  five?: unknown;\n}\n');
    expect(text).toContain('export type B = "x" | "y";\n');
  });
});
