/** The log of deliveries, newest first, with a button that sends one again. */
import { useInfiniteQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { listDeliveries, redeliver } from '../../api/webhooks';
import type { DeliveryView } from '../../api/schema';
import { jobAddress } from '../../app/router';
import { ago, count } from '../../lib/format';
import { keys } from '../../lib/keys';
import { useNow } from '../../lib/useNow';
import { Button, IconButton } from '../../ui/Button';
import { Chip, type Tone } from '../../ui/Chip';
import { Notice } from '../../ui/Notice';
import { Segmented } from '../../ui/Segmented';
import { toast, toastError } from '../../ui/toast';

type Filter = 'all' | 'pending' | 'delivered' | 'failed';

const EVERY_MS = 10_000;
const tones: Record<string, Tone> = { pending: 'wait', delivered: 'good', failed: 'bad' };

export function Deliveries() {
  const [filter, setFilter] = useState<Filter>('all');
  const state = filter === 'all' ? undefined : filter;
  const log = useInfiniteQuery({
    queryKey: keys.deliveries(filter),
    queryFn: ({ signal, pageParam }) => listDeliveries({ ...(state && { state }), ...(pageParam && { cursor: pageParam }) }, signal),
    initialPageParam: '',
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    refetchInterval: EVERY_MS,
  });
  const rows = log.data?.pages.flatMap((page) => page.deliveries);
  const again = async (id: string) => {
    try {
      await redeliver(id);
      toast('The event will be sent again soon.');
    } catch (error) {
      toastError(error);
    }
    await log.refetch();
  };
  return (
    <section aria-labelledby="deliveries" className="space-y-3">
      <div className="flex flex-wrap items-center justify-between gap-3">
        <h2 id="deliveries" className="text-base font-semibold tracking-tight">
          Deliveries
        </h2>
        <Segmented
          legend="State of deliveries"
          hideLegend
          options={[
            { value: 'all', label: 'All' },
            { value: 'pending', label: 'Pending' },
            { value: 'delivered', label: 'Delivered' },
            { value: 'failed', label: 'Failed' },
          ]}
          value={filter}
          onChange={setFilter}
        />
      </div>
      {log.error && <Notice tone="bad" title="Could not load the deliveries">{log.error.message}</Notice>}
      {rows?.length === 0 && <p className="hint">No deliveries.</p>}
      <ul className="space-y-2">
        {rows?.map((row) => (
          <li key={row.delivery_id} className="card flex items-center gap-3 p-3">
            <Delivery row={row} />
            <IconButton icon="retry" label={`Send the event ${row.kind} again`} onClick={() => void again(row.delivery_id)} />
          </li>
        ))}
      </ul>
      {log.hasNextPage && (
        <Button onClick={() => void log.fetchNextPage()} disabled={log.isFetchingNextPage}>
          Older deliveries
        </Button>
      )}
    </section>
  );
}

function Delivery({ row }: { row: DeliveryView }) {
  const now = useNow();
  const result = [row.last_status && `status ${row.last_status}`, row.last_error].filter(Boolean).join(', ');
  return (
    <div className="min-w-0 flex-1 text-sm">
      <p className="flex flex-wrap items-center gap-2">
        <Chip tone={tones[row.state] ?? 'plain'}>{row.state}</Chip>
        <span className="font-medium">{row.kind}</span>
        <a href={jobAddress(row.job_id)} className="underline underline-offset-2">
          video
        </a>
        <span className="hint">{ago(row.at, now)}</span>
      </p>
      <p className="num mt-1 break-all">{row.url}</p>
      <p className="hint mt-0.5">
        {count(row.attempts)} {row.attempts === 1 ? 'attempt' : 'attempts'}
        {result && `; last: ${result}`}
      </p>
    </div>
  );
}
