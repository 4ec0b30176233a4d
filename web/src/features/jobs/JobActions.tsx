/** The buttons of a job; only actions that are currently possible. */
import type { JobView } from '../../api/schema';
import { at } from '../../lib/prefix';
import { remix } from '../../lib/remix';
import { Button, IconButton } from '../../ui/Button';
import { Icon } from '../../ui/Icon';
import { useJobActions } from './useJobActions';

/** A recognisable file name for the download. */
export function fileName(job: JobView): string {
  const slug = job.request.prompt.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-+|-+$/g, '').slice(0, 48);
  return `${slug || 'video'}-${job.job_id.slice(-6)}.mp4`;
}

export function JobActions({ job, onLeave }: { job: JobView; onLeave?: () => void }) {
  const actions = useJobActions(job);
  const busy = { disabled: actions.isBusy };
  return (
    <div className="flex items-center gap-0.5">
      {job.links.continue && (
        <Button icon="play" onClick={() => void actions.proceed()} {...busy}>
          {job.group_id ? 'Continue this one' : 'Continue'}
        </Button>
      )}
      {job.status === 'queued' && job.optimization.planned && (
        <IconButton icon="up" label="Move to the front of your queue" onClick={() => void actions.toFront()} {...busy} />
      )}
      {job.links.cancel && !job.cancel_requested && <IconButton icon="stop" label="Cancel" onClick={() => void actions.cancel()} {...busy} />}
      {job.links.retry && <IconButton icon="retry" label="Retry" onClick={() => void actions.retry()} {...busy} />}
      {job.video && (
        <a
          href={at(job.video.url)}
          download={fileName(job)}
          aria-label="Download"
          title="Download"
          className="inline-flex size-8 items-center justify-center rounded-lg text-muted transition-colors hover:bg-raised hover:text-ink"
        >
          <Icon name="download" />
        </a>
      )}
      <IconButton
        icon="remix"
        label="Remix: reuse these settings"
        onClick={() => {
          onLeave?.();
          remix(job);
        }}
      />
      <IconButton
        icon="trash"
        label="Delete"
        onClick={() => {
          onLeave?.();
          void actions.remove();
        }}
        {...busy}
      />
    </div>
  );
}
