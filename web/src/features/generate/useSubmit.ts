/** Submits the form. Retrying an unchanged form reuses its idempotency key, so no video is created twice. */
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useRef } from 'react';
import { ApiError, freshKey } from '../../api/client';
import { generate } from '../../api/generate';
import { generateBatch } from '../../api/generateBatch';
import type { JobQuery } from '../../api/listJobs';
import type { JobView } from '../../api/schema';
import { keys } from '../../lib/keys';
import { type JobPages, upsert } from '../../lib/jobPages';
import type { Draft } from './draft';
import { prompts, toRequest } from './request';

/** Whether the API has certainly not accepted the request. After 408 it may still do so. */
const isRefusal = ({ isOffline, status }: ApiError): boolean => !isOffline && status < 500 && status !== 408;

export function useSubmit() {
  const client = useQueryClient();
  const attempt = useRef({ payload: '', key: '' });
  return useMutation<JobView[], Error, Draft>({
    mutationFn: async (draft) => {
      const requests = prompts(draft).map((prompt) => toRequest(draft, prompt));
      const payload = JSON.stringify(requests);
      if (attempt.current.payload !== payload) attempt.current = { payload, key: freshKey() };
      const [first] = requests;
      if (requests.length === 1 && first) return [await generate(first, attempt.current.key)];
      const answer = await generateBatch(requests, attempt.current.key);
      return answer.jobs.map((item) => item.job);
    },
    onSuccess: (jobs) => {
      attempt.current = { payload: '', key: '' };
      // The event stream reports them too; this shows them immediately.
      for (const [key, pages] of client.getQueriesData<JobPages>({ queryKey: keys.jobs })) {
        if (pages) client.setQueryData(key, jobs.reduce((all, job) => upsert(all, job, key[1] as JobQuery), pages));
      }
      void client.invalidateQueries({ queryKey: keys.stats });
    },
    // After a network failure or a timeout we cannot know whether the job was accepted, so the next attempt reuses the key.
    onError: (error) => {
      if (error instanceof ApiError && isRefusal(error)) attempt.current = { payload: '', key: '' };
    },
  });
}
