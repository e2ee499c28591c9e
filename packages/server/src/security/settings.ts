/** The settings of what guards a server beyond keys and limits, and their defaults. */
import type { AuditSettings } from "./audit-log.ts";

export interface SecuritySettings {
  /** File of the content filter's rules; null: no filter. */
  readonly filterFile: string | null;
  /** Filter by the usual rules, too: keys of known services, private keys and numbers of cards get neither in nor out. */
  readonly filtersSecrets: boolean;
  /** Take scripts and the like out of what clients send. */
  readonly sanitizes: boolean;
  /** File of the patterns to take out; null: the usual ones. */
  readonly sanitizeFile: string | null;
  /** Null: no log. */
  readonly audit: AuditSettings | null;
}

export const defaultSecuritySettings: SecuritySettings = {
  filterFile: null,
  filtersSecrets: false,
  sanitizes: false,
  sanitizeFile: null,
  audit: null,
};
