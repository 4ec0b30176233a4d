/** The status of a job in words and its progress as a fraction. Pure. */
import type { JobStatus, JobView, ProgressView, Stage } from '../../api/schema';
import { count, duration, usd } from '../../lib/format';
import type { Tone } from '../../ui/Chip';
import type { IconName } from '../../ui/Icon';

/** How a status is shown. */
export interface Look {
  label: string;
  tone: Tone;
  icon: IconName;
}

const looks: Record<JobStatus, Look> = {
  queued: { label: 'Queued', tone: 'plain', icon: 'clock' },
  scheduled: { label: 'Up next', tone: 'plain', icon: 'clock' },
  running: { label: 'Rendering', tone: 'accent', icon: 'film' },
  drafted: { label: 'Draft', tone: 'wait', icon: 'pause' },
  completed: { label: 'Done', tone: 'good', icon: 'check' },
  failed: { label: 'Failed', tone: 'bad', icon: 'warn' },
  cancelled: { label: 'Cancelled', tone: 'plain', icon: 'stop' },
};

export function lookOf(job: Pick<JobView, 'status' | 'cancel_requested'>): Look {
  const isEnding = job.cancel_requested && !isOver(job.status);
  return isEnding ? { label: 'Stopping', tone: 'wait', icon: 'stop' } : looks[job.status];
}

/** The job has ended. */
export const isOver = (status: JobStatus): boolean => status === 'completed' || status === 'failed' || status === 'cancelled';

export const isWaiting = (status: JobStatus): boolean => status === 'queued' || status === 'scheduled';

const stages: Record<Stage, string> = {
  prepare: 'Preparing',
  encode: 'Encoding the prompt',
  denoise: 'Denoising',
  decode: 'Decoding frames',
  interpolate: 'Smoothing the motion',
  deliver: 'Saving the video',
};

/** `Step 12 of 25` while denoising, otherwise the name of the stage. */
export function stageText({ stage, step, steps }: ProgressView): string {
  if (stage === 'denoise' && steps > 0) return step > 0 ? `Step ${step} of ${steps}` : `Starting step 1 of ${steps}`;
  return stage ? stages[stage] : 'Starting';
}

/** Where each stage begins, as a fraction of the run; denoising takes most of it. */
const begins: Record<Stage, number> = { prepare: 0, encode: 0.02, denoise: 0.05, decode: 0.9, interpolate: 0.94, deliver: 0.97 };

/** Progress of a run, 0 to 1. */
export function fraction({ stage, step, steps }: ProgressView): number {
  if (!stage) return 0;
  if (stage !== 'denoise' || steps === 0) return begins[stage];
  return begins.denoise + (begins.decode - begins.denoise) * Math.min(step / steps, 1);
}

/** What a draft shows and cost, and whether it is one of several. */
export function draftText({ draft, group_id: group, optimization, request }: JobView): string {
  const steps = draft && optimization.final_steps ? `${draft.step} of ${optimization.final_steps} steps` : 'First steps';
  const cost = draft && draft.cost_usd > 0 ? `, ${usd(draft.cost_usd)} so far` : '';
  const next = !group ? 'Continue it or cancel it.' : request.judge === 'person' ? 'Continue the best candidate; the others end.' : 'The best candidate is continued when all are drafted.';
  return `${steps}${cost}. ${next}`;
}

/** What stopping a job early saved; empty when there is nothing to say. */
export function stoppedText({ stopping_saved_s: saved }: JobView): string {
  return typeof saved === 'number' && saved >= 1 ? `Stopping it early saved about ${duration(saved)} of GPU time.` : '';
}

/** What a waiting job is waiting for. */
export function waitText(job: JobView, nowMs: number): string {
  const retryS = job.not_before ? (Date.parse(job.not_before) - nowMs) / 1000 : 0;
  if (retryS > 0.5) return `Retrying in ${duration(Math.ceil(retryS))}`;
  const { queue_position: ahead, queue_wait_s: waitS } = job;
  if (ahead === null || ahead === undefined) return 'Waiting for a worker';
  const place = ahead === 0 ? 'Next to start' : `${count(ahead)} ahead`;
  return waitS === null || waitS === undefined ? place : `${place}, starts in about ${duration(Math.max(waitS, 1))}`;
}
