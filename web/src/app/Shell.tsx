/** The frame around every page: name, navigation, connection status, theme, sign-out and the statistics bar. */
import { useQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { getSettings } from '../api/getSettings';
import { SignOutButton } from '../features/session/SignOutButton';
import { StatsBar } from '../features/stats/StatsBar';
import { keys } from '../lib/keys';
import { IconButton } from '../ui/Button';
import { Logo } from '../ui/Logo';
import { LiveMark } from './LiveMark';
import { follow, type Place, paths, usePlace } from './router';
import { setTheme, useTheme } from './theme';
import { Troubles } from './Troubles';

const places: { place: Place; label: string }[] = [
  { place: 'create', label: 'Create' },
  { place: 'dashboard', label: 'Dashboard' },
  { place: 'usage', label: 'Usage' },
  { place: 'webhooks', label: 'Webhooks' },
];

export function Shell({ children }: { children: ReactNode }) {
  const here = usePlace();
  const theme = useTheme();
  const settings = useQuery({ queryKey: keys.settings, queryFn: ({ signal }) => getSettings(signal), staleTime: 60_000 });
  return (
    <>
      <a href="#main" className="sr-only focus:not-sr-only focus:absolute focus:top-2 focus:left-2 focus:z-50 focus:rounded-lg focus:bg-surface focus:px-3 focus:py-2">
        Skip to content
      </a>
      <header className="border-b border-line bg-surface">
        <div className="mx-auto flex max-w-[88rem] items-center gap-2 px-4 pt-2.5 pb-2 sm:gap-5 sm:px-6">
          <div className="flex items-center gap-2.5">
            <Logo />
            <span className="hidden text-base font-semibold tracking-tight sm:inline">Hunyuan Fleet</span>
          </div>
          {/* Scrolls sideways on a phone. */}
          <nav aria-label="Main" className="flex min-w-0 gap-1 overflow-x-auto [scrollbar-width:none]">
            {places.map(({ place, label }) => (
              <a
                key={place}
                href={paths[place]}
                onClick={(event) => follow(event, place)}
                aria-current={here === place ? 'page' : undefined}
                className="rounded-lg px-2.5 py-1.5 text-sm font-medium text-muted hover:bg-raised hover:text-ink aria-[current]:bg-raised aria-[current]:text-ink"
              >
                {label}
              </a>
            ))}
          </nav>
          <div className="ml-auto flex items-center gap-1">
            <LiveMark />
            <IconButton
              icon={theme === 'dark' ? 'sun' : 'moon'}
              label={theme === 'dark' ? 'Switch to light theme' : 'Switch to dark theme'}
              onClick={() => setTheme(theme === 'dark' ? 'light' : 'dark')}
            />
            {settings.data?.keys_required && <SignOutButton />}
          </div>
        </div>
        <StatsBar />
      </header>
      <main id="main" tabIndex={-1} className="mx-auto max-w-[88rem] px-4 py-5 outline-none sm:px-6">
        <div className="mb-5 empty:hidden">
          <Troubles />
        </div>
        {children}
      </main>
    </>
  );
}
