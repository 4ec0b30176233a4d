/** Shown when the fleet cannot be reached; retries automatically. */
import { useEffect } from 'react';
import { Button } from '../ui/Button';
import { Icon } from '../ui/Icon';

const RETRY_MS = 3000;

export function Unreachable({ error, retry }: { error: Error | null; retry: () => void }) {
  useEffect(() => {
    const timer = setInterval(retry, RETRY_MS);
    return () => clearInterval(timer);
  }, [retry]);
  return (
    <main className="grid min-h-dvh place-items-center p-6">
      <div className="card max-w-md p-8 text-center">
        <Icon name="warn" className="mx-auto mb-3 size-8 text-wait" />
        <h1 className="text-lg font-semibold">The fleet is not responding</h1>
        <p className="mt-1 mb-5 text-sm text-muted">{error?.message ?? 'It may still be starting.'} Submitted videos are safe.</p>
        <Button onClick={retry} icon="retry">
          Retry now
        </Button>
      </div>
    </main>
  );
}
