/** Sign-in with an API key. The key is not stored: the API returns a cookie that scripts cannot read. */
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { setCsrfToken } from '../../api/client';
import { signIn } from '../../api/signIn';
import { keys } from '../../lib/keys';
import { Button } from '../../ui/Button';
import { Field } from '../../ui/Field';
import { Logo } from '../../ui/Logo';

export function SignIn() {
  const client = useQueryClient();
  const [key, setKey] = useState('');
  const enter = useMutation({
    mutationFn: signIn,
    onSuccess: (session) => {
      setCsrfToken(session.csrf_token);
      client.setQueryData(keys.session, session);
    },
  });
  return (
    <main className="grid min-h-dvh place-items-center p-6">
      <form
        className="card w-full max-w-sm space-y-4 p-7"
        onSubmit={(event) => {
          event.preventDefault();
          if (key.trim()) enter.mutate(key.trim());
        }}
      >
        <div>
          <Logo className="mb-4 size-10" />
          <h1 className="text-lg font-semibold tracking-tight">Sign in to Hunyuan Fleet</h1>
          <p className="mt-1 text-sm text-muted">Enter your API key. It is exchanged for a session and not stored in this browser.</p>
        </div>
        <Field label="API key" error={enter.error?.message}>
          {(control) => (
            <input
              {...control}
              className="input font-mono"
              type="password"
              autoComplete="current-password"
              spellCheck={false}
              required
              value={key}
              onChange={(event) => setKey(event.target.value)}
            />
          )}
        </Field>
        <Button type="submit" variant="primary" icon="key" className="w-full" disabled={enter.isPending}>
          {enter.isPending ? 'Signing in…' : 'Sign in'}
        </Button>
      </form>
    </main>
  );
}
