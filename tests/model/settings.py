"""Which protocol is explored, and how far."""

from typing import NamedTuple


class Rules(NamedTuple):
    """What makes it right. Each rule can be broken, to see that the model notices."""

    # The compressor.
    ring_is_marked_before_the_tail_is_read: bool = True
    the_tail_is_read: bool = True
    a_length_is_final: bool = True
    a_length_is_noted: bool = True
    leases_end_before_sealing: bool = True
    choosing_moves_the_epoch: bool = True
    # Deletion.
    deletion_seals: bool = True
    a_begun_deletion_is_final: bool = True
    leases_end_before_deletion: bool = True
    leases_end_before_setting_aside_to_delete: bool = True
    # `kept.py`.
    ring_is_asked_before_the_link_count: bool = True
    ring_is_asked_again: bool = True
    pending_is_not_kept: bool = True
    # The writers.
    clock_is_read_before_the_look: bool = True
    no_lease_without_a_stable_epoch: bool = True
    no_record_is_kept_unseen: bool = True
    the_impatient_leave_sealed_files: bool = True
    the_impatient_publish: bool = True
    # Rotation.
    epoch_moves_before_the_rename: bool = True
    publishing_never_replaces: bool = True
    publishing_clears_the_ring: bool = True
    opening_the_epoch_clears_the_ring: bool = True
    who_has_no_lock_shuns_numbers_in_the_ring: bool = True
    # Recovery.
    healing_comes_first: bool = True
    healing_publishes: bool = True
    healing_stamps: bool = True
    healing_reschedules: bool = True
    healing_asks_what_was_under_way: bool = True


class Bound(NamedTuple):
    """How far the protocol is explored, and in what surroundings.

    Args:
        writers: one or two.
        records: how many each of them has to log.
        rotations: how many there are in all.
        keep: how many backups are kept: 0, 1 or 2.
        crashes: how many processes die.
        compresses: whether there is a compressor.
        writers_rotate: whether writers rotate too, before a record.
        notes: whether a length can be attached to a file.
        forgets: how often the ring forgets a file.
        moves: how often an operator gives the log the name of the first backup.
        stray_names: whether each file has one more name somewhere, so that link counts say nothing.
        timed: whether the log is rotated by time as well.
        every_pause: whether processes also die, and pause, where that makes no difference (see `protocol.py`).

    """

    writers: int = 2
    records: int = 2
    rotations: int = 2
    keep: int = 1
    crashes: int = 1
    compresses: bool = True
    writers_rotate: bool = False
    notes: bool = True
    forgets: int = 0
    moves: int = 0
    stray_names: bool = False
    timed: bool = False
    every_pause: bool = False


class Setting(NamedTuple):
    """A protocol, and how far it is explored."""

    bound: Bound
    rules: Rules

    @property
    def shuns_what_is_in_the_ring(self) -> bool:
        """Tell whether a new file never takes over what the ring says of an old one with its number."""
        rules = self.rules
        return rules.publishing_clears_the_ring and rules.who_has_no_lock_shuns_numbers_in_the_ring


AS_BUILT = Rules()
DEFAULT = Bound()
