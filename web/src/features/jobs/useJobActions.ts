/** Actions on a job: cancel, continue, retry, replay, delete and restore. Each result is applied to the lists immediately. */
import { useState } from 'react';
import { cancelJob } from '../../api/cancelJob';
import { continueJob } from '../../api/continueJob';
import { deleteJob } from '../../api/deleteJob';
import { moveToFront } from '../../api/moveJob';
import { replayJob } from '../../api/replayJob';
import { restoreJob } from '../../api/restoreJob';
import { retryJob } from '../../api/retryJob';
import type { JobView } from '../../api/schema';
import { openJob } from '../../app/router';
import { toast, toastError } from '../../ui/toast';
import { useFeed } from './feed';

export function useJobActions(job: JobView) {
  const feed = useFeed();
  const [isBusy, setIsBusy] = useState(false);

  const attempt = async (action: () => Promise<void>) => {
    if (isBusy) return;
    setIsBusy(true);
    try {
      await action();
    } catch (error) {
      toastError(error);
      // The job may have changed meanwhile, so read it again.
      feed.changed(job.job_id, 'refused');
    } finally {
      setIsBusy(false);
    }
  };

  const restore = async () => {
    try {
      feed.put(await restoreJob(job.job_id));
    } catch (error) {
      toastError(error);
    }
  };

  return {
    isBusy,
    cancel: () => attempt(async () => feed.put(await cancelJob(job.job_id))),
    proceed: () =>
      attempt(async () => {
        feed.put(await continueJob(job.job_id));
        toast(job.group_id ? 'Candidate chosen; the others end.' : 'Draft continued.');
      }),
    toFront: () =>
      attempt(async () => {
        feed.put(await moveToFront(job.job_id));
        toast('Video moved to the front of your queue.');
      }),
    retry: () =>
      attempt(async () => {
        feed.put(await retryJob(job.job_id));
        toast('Video queued again.');
      }),
    replay: () =>
      attempt(async () => {
        const again = await replayJob(job.job_id);
        feed.put(again);
        openJob(again.job_id);
        toast('Replay queued. The comparison appears when it is done.');
      }),
    remove: () =>
      attempt(async () => {
        await deleteJob(job.job_id);
        feed.drop(job.job_id);
        toast('Video deleted.', { action: { label: 'Undo', run: () => void restore() } });
      }),
  };
}
