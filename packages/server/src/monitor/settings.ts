/** The settings of the monitor, and their defaults. */
import { defaultThresholds, type Thresholds } from "./alerts.ts";

export interface MonitorSettings {
  /** Between two snapshots. */
  intervalMs: number;
  thresholds: Thresholds;
  /** Told of alerts by POST; null: nobody is. */
  webhook: string | null;
}

export const defaultMonitorSettings: MonitorSettings = {
  intervalMs: 60_000,
  thresholds: defaultThresholds,
  webhook: null,
};
