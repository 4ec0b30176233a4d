/** A job in the list. */
import { memo } from 'react';
import type { JobView } from '../../api/schema';
import { JobActions } from './JobActions';
import { JobMedia } from './JobMedia';
import { Ago, JobStatusLine, StatusChip } from './JobStatusLine';
import { OptimizationBadge } from './OptimizationBadge';
import { UnreadPrompt } from './UnreadPrompt';
import { usePlaced } from './usePlaced';

/** Widths that give wide, square and tall videos about the same height. */
function widthOf({ shape }: JobView): string {
  const aspect = shape.width / shape.height;
  if (aspect > 1.2) return 'w-28 sm:w-60';
  return aspect < 0.85 ? 'w-16 sm:w-22' : 'w-22 sm:w-36';
}

export const JobCard = memo(function JobCard({ job: listed, onOpen }: { job: JobView; onOpen: (jobId: string) => void }) {
  const job = usePlaced(listed);
  const open = () => onOpen(job.job_id);
  return (
    <div className="card grid grid-cols-[auto_minmax(0,1fr)] gap-x-3.5 gap-y-2.5 p-3 sm:gap-x-4" data-status={job.status}>
      <div className="sm:row-span-2">
        <JobMedia job={job} className={widthOf(job)} onOpen={open} />
      </div>
      <div className="flex min-w-0 flex-col gap-1.5">
        <div className="flex items-center gap-2">
          <StatusChip job={job} />
          <Ago iso={job.finished_at ?? job.created_at} />
          <div className="-my-1 ml-auto hidden sm:block">
            <JobActions job={job} />
          </div>
        </div>
        <h3 className="text-base font-medium break-words">
          <button type="button" onClick={open} className="max-w-full text-left hover:underline hover:underline-offset-2">
            <span className="line-clamp-2">{job.request.prompt}</span>
          </button>
        </h3>
        <UnreadPrompt readings={job.prompt_tokens} withSummary={false} />
        <JobStatusLine job={job} />
      </div>
      <div className="col-span-2 flex flex-wrap items-end justify-between gap-2 self-end sm:col-span-1">
        <OptimizationBadge job={job} />
        <div className="-my-1 ml-auto sm:hidden">
          <JobActions job={job} />
        </div>
      </div>
    </div>
  );
});
