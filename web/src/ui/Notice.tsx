/** An error or a piece of information, with an optional action. */
import type { ReactNode } from 'react';
import { Icon } from './Icon';

export function Notice({ tone, title, children, action }: { tone: 'bad' | 'wait' | 'plain'; title: string; children?: ReactNode; action?: ReactNode }) {
  const look = { bad: 'border-bad/30 bg-bad-soft text-bad', wait: 'border-wait/30 bg-wait-soft text-wait', plain: 'border-line bg-raised text-ink' }[tone];
  return (
    <div className={`flex items-start gap-2.5 rounded-lg border px-3 py-2.5 text-sm ${look}`} role={tone === 'bad' ? 'alert' : 'status'}>
      <Icon name={tone === 'plain' ? 'info' : 'warn'} className="mt-0.5 size-4" />
      <div className="min-w-0 flex-1">
        <p className="font-semibold">{title}</p>
        {children && <div className="mt-0.5 text-ink">{children}</div>}
      </div>
      {action}
    </div>
  );
}
