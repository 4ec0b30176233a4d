/**
 * What a newcomer sees instead of an empty list: clips that this fleet's model made. A click puts prompt and seed into the form.
 *
 * `scripts/pictures` renders the clips and writes `clips.json`. They are shown only while their model is the fleet's default one.
 */
import { useQuery } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import { getModels } from '../../api/getModels';
import { keys } from '../../lib/keys';
import { at } from '../../lib/prefix';
import { suggest } from '../../lib/suggest';
import { Button } from '../../ui/Button';
import gallery from './clips.json';

type Clip = (typeof gallery.clips)[number];

const isCalm = () => window.matchMedia('(prefers-reduced-motion: reduce)').matches;
const address = (file: string) => at(`/gallery/${file}`);

/** Whether the fleet's default model made the clips. */
export function useHasGallery(): boolean {
  const models = useQuery({ queryKey: keys.models, queryFn: ({ signal }) => getModels(signal), refetchInterval: 15_000 });
  const model = models.data?.models.find((each) => each.default);
  return model?.weights_fingerprint === gallery.weights && gallery.clips.length > 0;
}

export function Gallery() {
  const [isPlaying, setIsPlaying] = useState(() => !isCalm());
  return (
    <section aria-label="Examples" className="card p-4 sm:p-5">
      <div className="mb-3 flex flex-wrap items-center justify-between gap-x-4 gap-y-2">
        <div className="min-w-0">
          <h3 className="font-semibold">Made by this fleet's model</h3>
          <p className="hint">Select a clip to start from its prompt.</p>
        </div>
        <Button icon={isPlaying ? 'pause' : 'play'} onClick={() => setIsPlaying((now) => !now)}>
          {isPlaying ? 'Pause' : 'Play'}
        </Button>
      </div>
      <ul className="grid grid-cols-2 gap-3 sm:grid-cols-4 lg:grid-cols-2 xl:grid-cols-4">
        {gallery.clips.map((clip) => (
          <li key={clip.video}>
            <Tile clip={clip} isPlaying={isPlaying} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function Tile({ clip, isPlaying }: { clip: Clip; isPlaying: boolean }) {
  const video = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    // A browser may refuse to play before the first click; the poster stays then.
    if (isPlaying) void video.current?.play().catch(() => undefined);
    else video.current?.pause();
  }, [isPlaying]);
  return (
    <button
      type="button"
      onClick={() => suggest({ prompt: clip.prompt, seed: clip.seed })}
      className="group block w-full rounded-lg text-left"
      title="Use this prompt"
    >
      <video
        ref={video}
        src={address(clip.video)}
        poster={address(clip.poster)}
        preload="none"
        loop
        muted
        playsInline
        aria-hidden="true"
        tabIndex={-1}
        className="aspect-square w-full rounded-lg border border-line object-cover group-hover:border-line-strong"
      />
      <span className="mt-1.5 block text-xs text-muted group-hover:text-ink">{clip.prompt}</span>
    </button>
  );
}
