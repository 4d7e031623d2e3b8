//! Words that the initramfs leaves for the system that it starts, and places that both know.

/// Is there where both slots have failed, or the state is lost: a machine that is up can be repaired, one that
/// restarts for ever cannot. `twinroot-deadline.service` looks for it.
pub const DEGRADED: &str = "/run/twinroot/degraded";
/// Is there, with the cause, where the state partition could not be mounted and `/var` is in memory.
pub const STATE_LOST: &str = "/run/twinroot/state-lost";
/// Is there where the ESP was not unmounted in good order before this start.
pub const ESP_UNCLEAN: &str = "/run/twinroot/esp-unclean";
/// Below `/var`: what the node has changed in `/etc`, the upper layer of the overlay there.
pub const ETC_UPPER: &str = "lib/etc/upper";
/// Below `/var`: the overlay's own scratch folder, on the same file system as the upper layer.
pub const ETC_WORK: &str = "lib/etc/work";
