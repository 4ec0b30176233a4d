/** The root: signed in or not, and which page is shown. */
import { QueryCache, QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { lazy, Suspense } from 'react';
import { ApiError } from '../api/client';
import { SignIn } from '../features/session/SignIn';
import { useSession } from '../features/session/useSession';
import { keys } from '../lib/keys';
import { LiveProvider } from '../live/LiveProvider';
import { Toasts } from '../ui/Toasts';
import { CreatePage } from './CreatePage';
import { usePlace } from './router';
import { Shell } from './Shell';
import { Unreachable } from './Unreachable';

const pages = {
  dashboard: lazy(() => import('../features/stats/Dashboard')),
  usage: lazy(() => import('../features/usage/UsagePage')),
  webhooks: lazy(() => import('../features/webhooks/WebhooksPage')),
};

const RETRIES_MAX = 3;
const isWorthRetrying = (error: unknown) => !(error instanceof ApiError) || error.isOffline || error.status >= 500;

const client = new QueryClient({
  defaultOptions: {
    queries: {
      retry: (failures, error) => failures < RETRIES_MAX && isWorthRetrying(error),
      retryDelay: (failures) => Math.min(500 * 2 ** failures, 8000),
      staleTime: 10_000,
      refetchOnWindowFocus: false,
    },
  },
  queryCache: new QueryCache({
    onError: (error, query) => {
      const isSession = query.queryKey[0] === keys.session[0];
      if (!isSession && error instanceof ApiError && error.isUnauthenticated) void client.invalidateQueries({ queryKey: keys.session });
    },
  }),
});

function SignedIn() {
  const place = usePlace();
  const Page = place === 'create' ? null : pages[place];
  return (
    <LiveProvider>
      <Shell>
        {Page ? (
          <Suspense fallback={<div className="min-h-96" />}>
            <Page />
          </Suspense>
        ) : (
          <CreatePage />
        )}
      </Shell>
    </LiveProvider>
  );
}

function Gate() {
  const session = useSession();
  if (session.error instanceof ApiError && session.error.isUnauthenticated) return <SignIn />;
  // An existing session stays on screen while the fleet is unreachable; the event stream reports the outage.
  if (session.data) return <SignedIn />;
  if (session.isPending) return <output className="sr-only">Loading</output>;
  return <Unreachable error={session.error} retry={() => void session.refetch()} />;
}

export function App() {
  return (
    <QueryClientProvider client={client}>
      <Gate />
      <Toasts />
    </QueryClientProvider>
  );
}
