/** The status of the event stream, for components that show it. */
import { createContext, useContext } from 'react';
import type { LiveStatus } from './connection';

export const LiveContext = createContext<{ status: LiveStatus; retryNow: () => void }>({
  status: 'connecting',
  retryNow: () => undefined,
});

export const useLive = () => useContext(LiveContext);
