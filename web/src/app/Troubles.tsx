/** The banner at the top when the fleet is unreachable or part of it is unavailable. */
import { useQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { sentence } from '../api/client';
import { getHealth } from '../api/getHealth';
import type { HealthView } from '../api/schema';
import { keys } from '../lib/keys';
import { useLive } from '../live/context';
import { Button } from '../ui/Button';
import { Notice } from '../ui/Notice';

/** A restart or a network change is usually over by then and does not deserve a banner. */
const PATIENCE_MS = 1500;
const EVERY_MS = 15_000;

/** True once `value` has been true for a while. */
function useLasting(value: boolean): boolean {
  const [lasts, setLasts] = useState(false);
  useEffect(() => {
    if (!value) {
      setLasts(false);
      return undefined;
    }
    const timer = setTimeout(() => setLasts(true), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return lasts;
}

const parts = ({ checks }: HealthView) =>
  Object.values(checks)
    .filter((check) => check.status === 'down' && check.detail)
    .map((check) => sentence(check.detail));

export function Troubles() {
  const { status, retryNow } = useLive();
  const isLost = useLasting(status === 'lost');
  const health = useQuery({ queryKey: keys.health, queryFn: ({ signal }) => getHealth(signal), refetchInterval: EVERY_MS, retry: false });
  if (isLost) {
    return (
      <Notice tone="wait" title="The fleet is not responding" action={<Button onClick={retryNow}>Retry now</Button>}>
        This page shows the last known state and reconnects automatically. Submitted videos are safe.
      </Notice>
    );
  }
  if (!health.data || health.data.status === 'ok') return null;
  return (
    <Notice tone="wait" title={health.data.status === 'unavailable' ? 'The database is unavailable' : 'Part of the fleet is unavailable'}>
      {parts(health.data).join(' ')}
    </Notice>
  );
}
