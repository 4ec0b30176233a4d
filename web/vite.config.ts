/**
 * How the page is built.
 *
 * Everything is a file of its own origin: no inlined assets, since the API's content policy allows neither inline
 * scripts nor styles. Each text file also gets a .gz twin, which the API serves as it is.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import tailwindcss from '@tailwindcss/vite';
import react from '@vitejs/plugin-react';
import type { Plugin } from 'vite';
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

const api = process.env.FLEET_URL ?? 'http://127.0.0.1:8000';

export default defineConfig({
  plugins: [react(), tailwindcss(), gzipTwins()],
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: 'es2022' },
  server: { proxy: { '/api': { target: api, changeOrigin: true } } },
  test: {
    environment: 'jsdom',
    include: ['src/**/*.test.{ts,tsx}', 'scripts/**/*.test.ts'],
    restoreMocks: true,
  },
});
