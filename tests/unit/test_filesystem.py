"""The table of mounts, read as the kernel writes it (proc(5))."""

import pytest

from concurrent_log_handler.filesystem import Promises, kind_of, promises_of

TABLE = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
23 22 0:21 / /proc rw,nosuid - proc proc rw
30 22 0:30 / /srv/share rw,relatime shared:2 master:1 - nfs4 server:/export rw,vers=4.2
31 30 0:31 / /srv/share/local rw - tmpfs tmpfs rw
32 22 0:32 / /mnt/with\\040space rw - fuse.sshfs me@there:/ rw
33 22 0:33 / /mnt/twice rw - ext4 /dev/vdb rw
34 33 0:34 / /mnt/twice rw - cifs //server/twice rw
35 22 0:35 / /mnt/back\\134slash rw - xfs /dev/vdc rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/log/app", "ext4"),
        ("/", "ext4"),
        ("/srv/share", "nfs4"),
        ("/srv/share/logs/app.log", "nfs4"),
        ("/srv/shared/logs", "ext4"),
        ("/srv/share/local/app.log", "tmpfs"),
        ("/mnt/with space/app.log", "fuse.sshfs"),
        ("/mnt/twice/app.log", "cifs"),
        ("/mnt/back\\slash/app.log", "xfs"),
    ],
)
def test_the_innermost_and_latest_mount_counts(path: str, kind: str) -> None:
    assert kind_of(TABLE, path) == kind


@pytest.mark.parametrize("table", ["", "nonsense\n", "1 2 3 - ext4 x rw\n"])
def test_what_cannot_be_read_is_unknown(table: str) -> None:
    assert kind_of(table, "/var/log") == "unknown"


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay"])
def test_local_file_systems_append_atomically(kind: str) -> None:
    assert promises_of(kind) == Promises(kind, atomic_appends=True, stale_end_of_file=False)


@pytest.mark.parametrize(
    "kind",
    ["cifs", "smb3", "9p", "virtiofs", "fuse.sshfs", "fuseblk", "ceph", "lustre", "afs", "vfat", "unknown"],
)
def test_all_others_do_not(kind: str) -> None:
    assert promises_of(kind) == Promises(kind, atomic_appends=False, stale_end_of_file=False)


@pytest.mark.parametrize("kind", ["nfs", "nfs4"])
def test_nfs_looks_for_the_end_only_at_opening(kind: str) -> None:
    assert promises_of(kind) == Promises(kind, atomic_appends=False, stale_end_of_file=True)
