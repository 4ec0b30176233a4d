/** Buttons: primary, plain and quiet, and an icon button with an accessible name. */
import type { ButtonHTMLAttributes, ReactNode } from 'react';
import { Icon, type IconName } from './Icon';

type Props = ButtonHTMLAttributes<HTMLButtonElement> & { variant?: 'primary' | 'plain' | 'quiet'; icon?: IconName; children: ReactNode };

const looks = {
  primary: 'bg-accent text-on-accent hover:bg-accent-strong font-semibold shadow-card',
  plain: 'border border-line bg-surface hover:bg-raised font-medium',
  quiet: 'text-muted hover:bg-raised hover:text-ink font-medium',
};

export function Button({ variant = 'plain', icon, children, className = '', type = 'button', ...rest }: Props) {
  return (
    <button
      // oxlint-disable-next-line react/button-has-type -- set by the caller, `button` by default
      type={type}
      className={`inline-flex min-h-8 items-center justify-center gap-1.5 rounded-lg px-3 py-1.5 text-sm transition-colors disabled:cursor-not-allowed disabled:opacity-60 ${looks[variant]} ${className}`}
      {...rest}
    >
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

type IconProps = ButtonHTMLAttributes<HTMLButtonElement> & { icon: IconName; label: string };

export function IconButton({ icon, label, className = '', ...rest }: IconProps) {
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      className={`inline-flex size-8 items-center justify-center rounded-lg text-muted transition-colors hover:bg-raised hover:text-ink disabled:cursor-not-allowed disabled:opacity-50 ${className}`}
      {...rest}
    >
      <Icon name={icon} />
    </button>
  );
}
