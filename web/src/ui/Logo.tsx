/** The logo; the name is shown next to it. */
export function Logo({ className = 'size-7' }: { className?: string }) {
  return (
    <svg viewBox="0 0 32 32" className={className} aria-hidden="true">
      <rect width="32" height="32" rx="8" className="fill-accent" />
      <path d="M9 10.5h3.6v4.2h6.8v-4.2H23v11h-3.6v-4H12.6v4H9z" className="fill-on-accent" />
    </svg>
  );
}
