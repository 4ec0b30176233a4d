/** What was requested and how the video was rendered; the request can be copied. */
import type { InterpolationRecord, JobView, ProgressiveRecord, RunRecord } from '../../api/schema';
import { bytes, count, trim } from '../../lib/format';
import { Button } from '../../ui/Button';
import { toast } from '../../ui/toast';
import { unread, unreadText } from './UnreadPrompt';

type Fact = [name: string, value: string | null | undefined | false];

function facts(job: JobView): Fact[] {
  const { request, record, shape, video } = job;
  const stepCache = job.optimization.step_cache;
  return [
    ['Rendered', `${shape.width} × ${shape.height}, ${shape.frames} frames, ${trim(job.duration_s, 1)} s`],
    ['Requested', `${request.video_size}${request.aspect_ratio ? ` ${request.aspect_ratio}` : ''}, ${request.video_length} frames`],
    ['Seed', `${request.seed}${job.seed_drawn ? ' (random)' : ''}`],
    ['Guidance', `${request.cfg_scale}${(request.true_cfg_scale ?? 1) > 1 ? `, true ${request.true_cfg_scale}` : ''}`],
    ['Not read', unread(job.prompt_tokens, { withSummary: true }).map(unreadText).join(' ')],
    ['Adapters', request.loras?.map(({ name, scale }) => `${name} × ${scale ?? 1}`).join(', ')],
    ['Picture', job.image && pictureText(job)],
    ['Step cache', stepCache && (stepCache.mode === 'off' ? 'off' : `${stepCache.mode}, threshold ${trim(stepCache.threshold, 3)}`)],
    ['Steps computed', record && `${record.steps_computed} of ${record.steps_computed + record.steps_skipped}`],
    ['At half the size', record?.progressive && progressiveText(record.progressive)],
    ['Smoothed', record?.interpolation && interpolationText(record.interpolation)],
    ['Draft', job.draft && `${job.draft.step} steps, ${trim(job.draft.gpu_seconds, 1)} s of GPU time`],
    ['Candidates', job.choice && choiceText(job)],
    ['Model', request.model],
    ['Device', record && deviceText(record)],
    ['Rendered with', record?.batch ? companyText(record.batch) : null],
    ['Build', record?.build],
    ['SHA-256', record?.reproduction?.video_sha256],
    ['File', video && bytes(video.bytes)],
    ['Attempts', job.attempts > 1 && count(job.attempts)],
    ['Resumed', record?.resumed_from !== null && record?.resumed_from !== undefined && `from step ${record.resumed_from}`],
    ['Restarted because', record?.restarted_because],
    ['Submitted', new Date(job.created_at).toLocaleString()],
    ['ID', job.job_id],
  ];
}

/** The size of the picture that the video begins from, and what of it is shown. */
function pictureText({ request, image }: JobView): string {
  const crop = image?.crop;
  const { width, height } = typeof request.image === 'object' && request.image ? request.image : {};
  if (!crop || !width || !height) return 'as uploaded';
  const whole = crop.width === width && crop.height === height;
  return whole ? `${width} × ${height}` : `${width} × ${height}, of which ${crop.width} × ${crop.height} at the centre`;
}

/** Which of the steps were taken at half the size. */
function progressiveText({ width, height, steps_computed: computed, steps_skipped: skipped }: ProgressiveRecord): string {
  const reused = skipped > 0 ? `, ${count(skipped)} of them from the step cache` : '';
  return `the first ${count(computed + skipped)} steps at ${width} × ${height}${reused}`;
}

/** The device, and how many of them computed the video together. */
export function deviceText({ device, devices }: Pick<RunRecord, 'device' | 'devices'>): string {
  return (devices ?? 1) > 1 ? `${device}, ${count(devices ?? 1)} devices together` : device;
}

/** With how many other jobs the run shared its forward passes, on average over its steps. */
export function companyText(members: number): string {
  const others = members - 1;
  return `${trim(others, 1)} ${others === 1 ? 'other job' : 'other jobs'} on average`;
}

/** What interpolation made of the rendered frames. */
function interpolationText({ factor, frames, fps, cuts }: InterpolationRecord): string {
  const repeated = cuts > 0 ? `, ${count(cuts)} scene ${cuts === 1 ? 'cut' : 'cuts'} not blended` : '';
  return `${factor} ×: ${frames} frames, ${trim(fps, 2)} per second${repeated}`;
}

/** Who chose this video among how many, and what all of them cost. */
function choiceText({ choice, job_id: own }: JobView): string | null {
  if (!choice) return null;
  const cost = choice.candidates.reduce((sum, candidate) => sum + (candidate.draft?.gpu_seconds ?? 0), 0);
  const by = choice.by === 'person' ? 'chosen by a person' : 'chosen by measurement';
  const at = choice.candidates.findIndex((candidate) => candidate.job_id === own) + 1;
  return `${at} of ${choice.candidates.length}, ${by}; drafts of all took ${trim(cost, 1)} s`;
}

async function copy(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied.`);
  } catch {
    toast('The browser did not allow copying. Copy the text manually.', { tone: 'bad' });
  }
}

export function JobFacts({ job }: { job: JobView }) {
  return (
    <section aria-label="Details" className="space-y-3">
      <dl className="grid grid-cols-[auto_minmax(0,1fr)] gap-x-4 gap-y-1 text-sm">
        {facts(job).map(
          ([name, value]) =>
            value && (
              <div key={name} className="contents">
                <dt className="text-muted">{name}</dt>
                <dd className="num break-words">{value}</dd>
              </div>
            ),
        )}
      </dl>
      {/* The clipboard is available only on secure origins, which include localhost. */}
      {window.isSecureContext && (
        <div className="flex flex-wrap gap-2">
          <Button icon="copy" onClick={() => void copy(JSON.stringify(job.request, null, 2), 'Request')}>
            Copy request
          </Button>
          <Button icon="link" onClick={() => void copy(window.location.href, 'Link')}>
            Copy link
          </Button>
        </div>
      )}
    </section>
  );
}
