/**
 * The picture of a job: its video, playing in place, or its progress.
 *
 * A video loads nothing until it is played. Hovering plays it; the button keeps it playing or pauses it, so that
 * all motion can be stopped. A video that finishes while the page is open starts automatically.
 */
import { useEffect, useRef, useState } from 'react';
import type { JobView } from '../../api/schema';
import { Icon } from '../../ui/Icon';
import { at } from '../../lib/prefix';
import { usePreview } from '../../live/preview';
import { fraction, isOver, lookOf } from './state';
import { useJobProgress } from './useJobProgress';

const isCalm = () => window.matchMedia('(prefers-reduced-motion: reduce)').matches;

export function JobMedia({ job, className = 'w-full', onOpen }: { job: JobView; className?: string; onOpen: () => void }) {
  const wasWaitedFor = useRef(!isOver(job.status));
  return (
    <div className={`media relative overflow-hidden rounded-lg ${className}`} style={look(job)}>
      {job.video ? <LoopingVideo job={job} startsByItself={wasWaitedFor.current && !isCalm()} onOpen={onOpen} /> : <Placeholder job={job} />}
      {job.image && <FirstFrame src={at(job.image.thumbnail_url)} />}
    </div>
  );
}

/** The picture that the video begins from, small in a corner. */
function FirstFrame({ src }: { src: string }) {
  return (
    <img
      src={src}
      alt="First frame"
      title="First frame"
      loading="lazy"
      className="pointer-events-none absolute top-1.5 left-1.5 size-7 rounded-md border border-white/70 object-cover shadow-card sm:size-9"
    />
  );
}

/** The video's aspect ratio, and a hue per job, so that queued jobs can be distinguished. */
function look({ request, shape }: JobView): React.CSSProperties {
  return { aspectRatio: `${shape.width} / ${shape.height}`, '--hue': String((Number(request.seed ?? 0) * 137.5) % 360) } as React.CSSProperties;
}

function LoopingVideo({ job, startsByItself, onOpen }: { job: JobView; startsByItself: boolean; onOpen: () => void }) {
  const video = useRef<HTMLVideoElement>(null);
  const [isPlaying, setIsPlaying] = useState(false);
  const [isKept, setIsKept] = useState(startsByItself);
  const play = () => void video.current?.play().catch(() => undefined);
  useEffect(() => {
    if (startsByItself) play();
  }, [startsByItself]);
  if (!job.video) return null;
  return (
    <div
      className="group/video absolute inset-0"
      onPointerEnter={(event) => event.pointerType === 'mouse' && !isCalm() && play()}
      onPointerLeave={() => !isKept && video.current?.pause()}
    >
      <video
        ref={video}
        src={at(job.video.url)}
        poster={at(job.video.poster_url)}
        preload="none"
        loop
        muted
        playsInline
        aria-label={`Video: ${job.request.prompt}`}
        className="size-full object-contain"
        onPlay={() => setIsPlaying(true)}
        onPause={() => setIsPlaying(false)}
      />
      <button
        type="button"
        aria-label={isPlaying && isKept ? 'Pause' : 'Play'}
        aria-pressed={isKept}
        onClick={() => {
          setIsKept(!isKept);
          if (isKept) video.current?.pause();
          else play();
        }}
        onDoubleClick={onOpen}
        className="absolute inset-0 flex items-end justify-start rounded-lg p-2 focus-visible:-outline-offset-2"
      >
        <span
          className={`grid size-8 place-items-center rounded-full bg-black/60 text-white transition-opacity ${
            isPlaying ? 'opacity-0 group-focus-within/video:opacity-100 group-hover/video:opacity-100' : ''
          }`}
        >
          <Icon name={isPlaying && isKept ? 'pause' : 'play'} />
        </span>
      </button>
    </div>
  );
}

/** What the video will probably look like, as far as it is known; a video without a picture shows its progress or its place. */
function Placeholder({ job }: { job: JobView }) {
  const progress = useJobProgress(job);
  const latest = usePreview(job.job_id);
  const stored = job.status === 'failed' ? undefined : job.preview?.url;
  // A preview from the event stream is a data URL.
  const image = latest?.image ?? (stored && at(stored));
  if (job.status === 'running') {
    return (
      <>
        {image && <PreviewImage job={job} src={image} />}
        <Ring value={progress ? fraction(progress) : 0} isSmall={Boolean(image)} />
      </>
    );
  }
  if (image) return <PreviewImage job={job} src={image} />;
  return (
    <div className="absolute inset-0 grid place-items-center text-ink/70" aria-hidden="true">
      {isOver(job.status) ? <Icon name={lookOf(job).icon} className="size-7" /> : <Place ahead={job.queue_position} />}
    </div>
  );
}

function PreviewImage({ job, src }: { job: JobView; src: string }) {
  return <img src={src} alt={`Preview: ${job.request.prompt}`} className="absolute inset-0 size-full object-cover" />;
}

function Place({ ahead }: { ahead: number | null | undefined }) {
  if (typeof ahead !== 'number') return <Icon name="clock" className="size-7" />;
  return (
    <span className="num text-center">
      <span className="block text-2xl font-semibold">#{ahead + 1}</span>
      <span className="block text-xs">in queue</span>
    </span>
  );
}

const RADIUS = 26;
const AROUND = 2 * Math.PI * RADIUS;

function Ring({ value, isSmall }: { value: number; isSmall: boolean }) {
  const place = isSmall ? 'place-items-end p-1.5' : 'place-items-center';
  return (
    <div className={`absolute inset-0 grid ${place}`} aria-hidden="true">
      <div className={`relative grid place-items-center rounded-full bg-surface/75 ${isSmall ? 'size-11' : 'size-20'}`}>
        <svg viewBox="0 0 64 64" className="absolute inset-0 -rotate-90">
          <circle cx="32" cy="32" r={RADIUS} fill="none" strokeWidth="4" className="stroke-line" />
          <circle
            cx="32"
            cy="32"
            r={RADIUS}
            fill="none"
            strokeWidth="4"
            strokeLinecap="round"
            strokeDasharray={AROUND}
            strokeDashoffset={AROUND * (1 - value)}
            className="stroke-accent transition-[stroke-dashoffset] duration-500"
          />
        </svg>
        <span className={`num font-semibold ${isSmall ? 'text-[0.6rem]' : 'text-sm'}`}>{Math.round(100 * value)} %</span>
      </div>
    </div>
  );
}
