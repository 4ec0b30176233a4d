/** The current session. */
import { useQuery } from '@tanstack/react-query';
import { setCsrfToken } from '../../api/client';
import { getSession } from '../../api/getSession';
import { keys } from '../../lib/keys';

export const useSession = () =>
  useQuery({
    queryKey: keys.session,
    queryFn: async ({ signal }) => {
      const session = await getSession(signal);
      setCsrfToken(session.csrf_token);
      return session;
    },
    staleTime: 60_000,
  });
