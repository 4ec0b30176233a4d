/** The stream reconnects automatically, continues where it stopped, and reports its status. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LiveConnection } from './connection';

class FakeSource extends EventTarget {
  static all: FakeSource[] = [];
  readyState = 1;
  readonly url: string;
  constructor(url: string) {
    super();
    this.url = url;
    FakeSource.all.push(this);
  }
  close() {
    this.readyState = 2;
  }
  say(type: string, data: unknown, lastEventId = '') {
    this.dispatchEvent(new MessageEvent(type, { data: JSON.stringify(data), lastEventId }));
  }
  fail(readyState: number) {
    this.readyState = readyState;
    this.dispatchEvent(new Event('error'));
  }
}

const handlers = () => ({ onState: vi.fn(), onProgress: vi.fn(), onPreview: vi.fn(), onReady: vi.fn(), onStatus: vi.fn(), onRefused: vi.fn() });
const open = (url: string) => new FakeSource(url) as unknown as EventSource;
const source = (index: number) => {
  const found = FakeSource.all.at(index);
  if (!found) throw new Error('no such stream');
  return found;
};

beforeEach(() => {
  FakeSource.all = [];
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('LiveConnection', () => {
  it('passes events on and is live once ready', () => {
    const h = handlers();
    new LiveConnection(h, open).start();
    source(0).say('ready', {}, '5-1');
    source(0).say('state', { job_id: 'a', kind: 'queued', detail: {}, at: '' }, '6-2');
    source(0).say('progress', { job_id: 'a', stage: 'denoise', step: 1, steps: 2, skipped: 0, remaining_s: null });
    source(0).say('preview', { job_id: 'a', step: 9, steps: 25, image: 'data:image/webp;base64,AA==' });
    expect(h.onPreview).toHaveBeenCalledWith(expect.objectContaining({ step: 9 }));
    expect(h.onStatus).toHaveBeenCalledExactlyOnceWith('live');
    expect(h.onState).toHaveBeenCalledWith(expect.objectContaining({ job_id: 'a', kind: 'queued' }));
    expect(h.onProgress).toHaveBeenCalledWith(expect.objectContaining({ step: 1 }));
  });

  it('leaves reconnecting to the browser but reports the loss', () => {
    const h = handlers();
    new LiveConnection(h, open).start();
    source(0).say('ready', {});
    source(0).fail(0);
    vi.advanceTimersByTime(60_000);
    expect(FakeSource.all).toHaveLength(1);
    expect(h.onStatus.mock.calls).toEqual([['live'], ['lost']]);
    source(0).say('ready', {});
    expect(h.onStatus).toHaveBeenLastCalledWith('live');
  });

  it('reopens after a refusal, after the last event and with growing delays', () => {
    const h = handlers();
    new LiveConnection(h, open).start();
    source(0).say('state', { job_id: 'a', kind: 'queued', detail: {}, at: '' }, '7-3');
    source(0).fail(2);
    expect(h.onRefused).toHaveBeenCalledOnce();
    vi.advanceTimersByTime(500);
    expect(FakeSource.all).toHaveLength(2);
    expect(source(1).url).toBe('/api/events?last_event_id=7-3');
    source(1).fail(2);
    vi.advanceTimersByTime(999);
    expect(FakeSource.all).toHaveLength(2);
    vi.advanceTimersByTime(1);
    expect(FakeSource.all).toHaveLength(3);
  });

  it('reopens a stream that has become silent', () => {
    const h = handlers();
    const live = new LiveConnection(h, open);
    live.start();
    source(0).say('ready', {}, '7-3');
    source(0).say('ping', {});
    vi.advanceTimersByTime(30_000);
    source(0).say('progress', { job_id: 'a', stage: 'denoise', step: 1, steps: 2, skipped: 0, remaining_s: null });
    vi.advanceTimersByTime(44_999);
    expect(h.onStatus).toHaveBeenLastCalledWith('live');
    vi.advanceTimersByTime(1);
    expect(h.onStatus).toHaveBeenLastCalledWith('lost');
    expect(source(0).readyState).toBe(2);
    expect(h.onRefused).not.toHaveBeenCalled();
    vi.advanceTimersByTime(500);
    expect(FakeSource.all).toHaveLength(2);
    expect(source(1).url).toBe('/api/events?last_event_id=7-3');
    // The new one is watched from its opening.
    vi.advanceTimersByTime(46_000);
    expect(FakeSource.all).toHaveLength(3);
    source(2).say('ready', {});
    expect(h.onStatus).toHaveBeenLastCalledWith('live');
    live.stop();
    vi.advanceTimersByTime(600_000);
    expect(FakeSource.all).toHaveLength(3);
  });

  it('keeps a stream that pings, and a silent one of an API that never does', () => {
    const h = handlers();
    new LiveConnection(h, open).start();
    source(0).say('ready', {});
    vi.advanceTimersByTime(600_000);
    for (let sent = 0; sent < 40; sent += 1) {
      source(0).say('ping', {});
      vi.advanceTimersByTime(15_000);
    }
    expect(FakeSource.all).toHaveLength(1);
    expect(h.onStatus.mock.calls).toEqual([['live']]);
  });

  it('ignores unreadable events and closed streams', () => {
    const h = handlers();
    const live = new LiveConnection(h, open);
    live.start();
    source(0).dispatchEvent(new MessageEvent('state', { data: 'not json' }));
    live.stop();
    source(0).fail(2);
    vi.advanceTimersByTime(60_000);
    expect(h.onState).not.toHaveBeenCalled();
    expect(FakeSource.all).toHaveLength(1);
  });
});
