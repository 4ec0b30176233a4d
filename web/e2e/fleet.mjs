/**
 * A private fleet for the browser: the release executables with the embedded model, on the services started by
 * `scripts/fleet with-services`, with its own ports and folder.
 */
import { execFile, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { until } from './until.mjs';

const run = promisify(execFile);
export const ROOT = new URL('../..', import.meta.url).pathname;
const TARGET = process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target');

const LEASE_S = 9;

/** A model that takes a picture; its manifest alone is enough for the API and the scheduler. */
const PICTURE_MODEL = 'hunyuanvideo-1.5-480p-i2v';

/** A free port below the range of outgoing connections. */
async function freePort() {
  for (let port = 29_000 + (process.pid % 2_000); ; port += 1) {
    const isFree = await new Promise((resolve) => {
      const server = createServer().once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}

/** One running executable. */
class Process {
  constructor(name, program, args, env, folder) {
    this.name = name;
    this.log = join(folder, `${name}.log`);
    const out = openSync(this.log, 'a');
    // The child is killed when this process ends, whatever the reason.
    this.child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', join(TARGET, 'release', program), ...args], {
      cwd: ROOT,
      env,
      stdio: ['ignore', out, out],
    });
    this.ended = new Promise((resolve) => this.child.once('exit', (code, signal) => resolve({ code, signal })));
    this.isRunning = true;
    void this.ended.then(() => (this.isRunning = false));
  }

  get pid() {
    return this.child.pid;
  }

  async kill(signal = 'SIGKILL') {
    if (this.isRunning) process.kill(this.pid, signal);
    await this.ended;
  }

  /** The last lines of its log, for the report of a failure. */
  tail(lines = 15) {
    return readFileSync(this.log, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  }
}

export class Fleet {
  #processes = [];

  /** Starts API, scheduler and one worker; the three services must be running. */
  static async start() {
    if (!process.env.FLEET_TEST_SERVICES) throw new Error('run `npm run e2e`: it starts the services first');
    const services = JSON.parse(process.env.FLEET_TEST_SERVICES);
    const fleet = new Fleet();
    fleet.folder = join(services.dir, 'page');
    mkdirSync(fleet.folder, { recursive: true });
    fleet.port = await freePort();
    fleet.url = `http://127.0.0.1:${fleet.port}`;
    const inherited = Object.entries(process.env).filter(([name]) => !/^(FLEET|ENABLE_|REDIS_)/.test(name));
    fleet.env = {
      ...Object.fromEntries(inherited),
      FLEET_CONFIG_DIR: join(ROOT, 'configuration'),
      FLEET__DATABASE__URL: services.database_url,
      FLEET__BROKER__URL: services.broker_url,
      REDIS_HOST: services.redis_host,
      REDIS_PORT: String(services.redis_port),
      FLEET__ARTIFACTS__URL: join(fleet.folder, 'artifacts'),
      FLEET__SERVER__WEB_DIR: join(ROOT, 'web/dist'),
      FLEET__SCHEDULER__METRICS_PORT: '0',
      FLEET__WORKER__METRICS_PORT: '0',
      // Short times, so that the job of a killed worker is reassigned quickly and loses few steps.
      FLEET__WORKER__LEASE_S: String(LEASE_S),
      FLEET__WORKER__HEARTBEAT_S: '2',
      FLEET__WORKER__CHECKPOINT_EVERY_S: '1',
      FLEET__WORKER__PROGRESS_MS: '100',
    };
    const pictures = join(fleet.folder, 'model-with-pictures');
    mkdirSync(pictures);
    copyFileSync(join(ROOT, `models/${PICTURE_MODEL}.fleet.toml`), join(pictures, 'fleet.toml'));
    fleet.models = `models/default,${pictures}`;
    await fleet.startApi();
    fleet.start('scheduler', 'scheduler', [], { FLEET__MODELS__DIRS: fleet.models });
    await fleet.startWorker('worker-1');
    return fleet;
  }

  start(name, program, args = [], env = {}) {
    const process = new Process(name, program, args, { ...this.env, ...env }, this.folder);
    this.#processes.push(process);
    return process;
  }

  async startApi() {
    this.api = this.start('api', 'api', [], { FLEET__SERVER__PORT: String(this.port) });
    await this.#untilReady(this.url, this.api);
  }

  /** Starts another API on the same database that requires keys; returns its URL. */
  async startApiWithKeys() {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const api = this.start('api-keys', 'api', [], { FLEET__SERVER__PORT: String(port), FLEET__SERVER__KEYS: 'on' });
    await this.#untilReady(url, api);
    return url;
  }

  /** Starts another API on the same database whose default model begins its videos from a picture; returns its URL. */
  async startApiWithPictures() {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const models = { FLEET__MODELS__DIRS: this.models, FLEET__MODELS__DEFAULT: PICTURE_MODEL };
    const api = this.start('api-pictures', 'api', [], { FLEET__SERVER__PORT: String(port), ...models });
    await this.#untilReady(url, api);
    return url;
  }

  async issueKey(tenant, ...options) {
    const { stdout } = await run(join(TARGET, 'release/api'), ['keys', 'issue', '--tenant', tenant, ...options], { cwd: ROOT, env: this.env });
    return stdout.trim().split(/\s+/).at(-1);
  }

  async startWorker(name) {
    this.worker = this.start(name, 'worker', ['run'], { FLEET__WORKER__NAME: name });
    await until(`${name} has registered`, async () => {
      if (!this.worker.isRunning) throw new Error(`${name} ended:\n${this.worker.tail()}`);
      const { workers } = await this.get('/api/workers');
      return workers.some((worker) => worker.name === name);
    });
  }

  async #untilReady(url, api) {
    await until(`${api.name} is ready`, async () => {
      if (!api.isRunning) throw new Error(`${api.name} ended:\n${api.tail()}`);
      const answer = await fetch(`${url}/readyz`).catch(() => null);
      return answer?.ok;
    });
  }

  async get(path) {
    const answer = await fetch(this.url + path);
    if (!answer.ok) throw new Error(`GET ${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  async submit(request) {
    const answer = await fetch(`${this.url}/api/generate`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(request),
    });
    if (answer.status !== 202) throw new Error(`POST /api/generate: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  /** The newest job with these words in its prompt. */
  async jobOf(words) {
    const { jobs } = await this.get(`/api/jobs?q=${encodeURIComponent(words)}`);
    return jobs[0];
  }

  async stop() {
    await Promise.all(this.#processes.map((process) => process.kill()));
  }

  /** The last log lines of every process. */
  tails() {
    return this.#processes.map((process) => `--- ${process.name}\n${process.tail()}`).join('\n');
  }
}
