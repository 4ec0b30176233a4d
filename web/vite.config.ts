/**
 * Build configuration of the page.
 *
 * Every asset is a separate file, because the API's content security policy forbids inline scripts and styles. Each text
 * file also gets a .gz copy, which the API serves directly. The build fails if the first load is too large.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import tailwindcss from '@tailwindcss/vite';
import react from '@vitejs/plugin-react';
import type { Plugin, Rolldown } from 'vite';
import { defineConfig } from 'vitest/config';

const COMPRESSED = /\.(js|css|html|svg)$/;
const SMALLER_IS_NOT_WORTH_IT_BYTES = 512;

function gzipTwins(): Plugin {
  return {
    name: 'gzip-twins',
    apply: 'build',
    async writeBundle(options) {
      const folder = options.dir ?? 'dist';
      const names = await readdir(folder, { recursive: true });
      await Promise.all(
        names
          .filter((name) => COMPRESSED.test(name))
          .map(async (name) => {
            const bytes = await readFile(join(folder, name));
            if (bytes.length < SMALLER_IS_NOT_WORTH_IT_BYTES) return;
            await writeFile(join(folder, `${name}.gz`), gzipSync(bytes, { level: 9 }));
          }),
      );
    },
  };
}

/** Limit for the first load of the page, as transferred. */
const FIRST_LOAD_MAX_BYTES = 200_000;
/** The one font file that English text needs; the browser loads the others on demand. */
const FIRST_FONT = /inter-latin-wght-normal.*\.woff2$/;

function firstLoadBudget(): Plugin {
  return {
    name: 'first-load-budget',
    enforce: 'post',
    apply: 'build',
    generateBundle(_options, bundle) {
      const parts = firstLoad(Object.values(bundle));
      const total = parts.reduce((sum, part) => sum + part.bytes, 0);
      if (total > FIRST_LOAD_MAX_BYTES) {
        const list = parts.map((part) => `  ${part.name}: ${part.bytes}`).join('\n');
        this.error(`the first load is ${total} bytes gzipped, more than ${FIRST_LOAD_MAX_BYTES}:\n${list}`);
      }
      this.environment.logger.info(`first load: ${(total / 1000).toFixed(1)} kB gzipped of at most ${FIRST_LOAD_MAX_BYTES / 1000}`);
    },
  };
}

/** The files of the first load: the page, its styles, its first font, and the scripts that the entry imports at once. */
function firstLoad(files: Rolldown.OutputBundle[string][]): { name: string; bytes: number }[] {
  const chunks = new Map(files.flatMap((file) => (file.type === 'chunk' ? [[file.fileName, file]] : [])));
  const wanted = new Set<string>();
  const follow = (name: string): void => {
    if (wanted.has(name)) return;
    wanted.add(name);
    for (const next of chunks.get(name)?.imports ?? []) follow(next);
  };
  for (const [name, chunk] of chunks) if (chunk.isEntry) follow(name);
  for (const { fileName } of files) if (/\.(html|css)$/.test(fileName) || FIRST_FONT.test(fileName)) wanted.add(fileName);
  return files
    .filter((file) => wanted.has(file.fileName))
    .map((file) => {
      const content = file.type === 'chunk' ? file.code : file.source;
      const isCompressed = file.fileName.endsWith('.woff2');
      return { name: file.fileName, bytes: isCompressed ? content.length : gzipSync(content, { level: 9 }).length };
    });
}

const api = process.env.FLEET_URL ?? 'http://127.0.0.1:8000';

export default defineConfig({
  experimental: {
    // The HTML names its files from the root, and the API adds a path prefix to them (`server.path_prefix`); the files find each other
    // by relative paths.
    renderBuiltUrl: (file, { hostType }) => (hostType === 'html' ? `/${file}` : { relative: true }),
  },
  plugins: [react(), tailwindcss(), gzipTwins(), firstLoadBudget()],
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: 'es2022', cssTarget: ['chrome123', 'firefox120', 'safari17.5'] },
  server: { proxy: { '/api': { target: api, changeOrigin: true } } },
  test: {
    environment: 'node',
    include: ['src/**/*.test.{ts,tsx}', 'scripts/**/*.test.ts'],
    restoreMocks: true,
  },
});
