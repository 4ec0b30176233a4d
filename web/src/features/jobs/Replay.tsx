/** Rendering a finished video again, and whether the replay has the same bytes. */
import { useQuery } from '@tanstack/react-query';
import { getReplay } from '../../api/replayJob';
import type { JobView } from '../../api/schema';
import { jobAddress } from '../../app/router';
import { keys } from '../../lib/keys';
import { Button } from '../../ui/Button';
import { Notice } from '../../ui/Notice';
import { useJobActions } from './useJobActions';

export function ReplayButton({ job }: { job: JobView }) {
  const actions = useJobActions(job);
  return (
    <Button icon="retry" onClick={() => void actions.replay()} disabled={actions.isBusy} title="Renders the video again and compares the bytes">
      Replay
    </Button>
  );
}

const titles: Record<string, string> = {
  pending: 'A replay; it is compared when it is done',
  identical: 'Identical to the original, byte for byte',
  different: 'Different from the original',
  incomplete: 'Not compared with the original',
};

/** The result of a replay. `job` is the replay. */
export function Comparison({ job }: { job: JobView }) {
  // Read again when the job changes its state.
  const report = useQuery({ queryKey: [...keys.replay(job.job_id), job.status], queryFn: ({ signal }) => getReplay(job.job_id, signal) }).data;
  if (!report) return null;
  return (
    <Notice tone={report.verdict === 'different' ? 'bad' : 'plain'} title={titles[report.verdict] ?? report.verdict}>
      <a href={jobAddress(report.original)} className="underline underline-offset-2">
        Original
      </a>
      {report.reason && <p className="mt-1">{report.reason}</p>}
      {report.differences.length > 0 && (
        <dl className="mt-1 space-y-1 text-xs">
          {report.differences.map(({ field, original, replay }) => (
            <div key={field}>
              <dt className="font-medium">{field}</dt>
              <dd className="num break-all">
                {JSON.stringify(original)} → {JSON.stringify(replay)}
              </dd>
            </div>
          ))}
        </dl>
      )}
    </Notice>
  );
}
