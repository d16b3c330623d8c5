# Makes this process the systemd of a machine of its own, in the namespaces that machine.py started it in: over the host's files, of
# which it changes nothing, for what is written goes to memory. $1: an empty directory; $2: the repository; $3: its environment; $4: its Python.
set -eu
mount -t tmpfs -o size=256m,mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
cd "$1/root"

mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for place in run tmp dev etc/systemd etc/sysusers.d srv var/lib usr/lib/systemd/system/*.target.wants; do
    if [ -d "$place" ]; then mount -t tmpfs -o mode=755 tmpfs "$place"; fi
done
mkdir -p etc/systemd/system etc/rotator opt/rotator/bin opt/repository opt/environment opt/python dev/pts dev/shm oldroot
for device in null zero full random urandom tty; do
    : > "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
ln -s /proc/self/fd dev/fd
: > dev/console
mount --bind /dev/null dev/console
mount -t tmpfs tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx

mount --bind "$2" opt/repository
mount --bind "$3" opt/environment
mount --bind "$4" opt/python
cat > opt/rotator/bin/rotator <<'END'
#!/bin/sh
libraries=$(echo /opt/environment/lib/python3.*/site-packages)
export PYTHONPATH="/opt/repository:/opt/repository/backends:$libraries" PYTHONDONTWRITEBYTECODE=1 LD_LIBRARY_PATH=/opt/python/lib
exec "/opt/python/bin/$(basename "${libraries%/*}")" -P -m rotator "$@"
END
chmod 755 opt/rotator/bin/rotator
rm -f usr/local/bin/rotator
ln -s /opt/rotator/bin/rotator usr/local/bin/rotator
printf '[Unit]\nWants=systemd-journald.service\n' > etc/systemd/system/machine.target
rm -f etc/machine-id etc/fstab  # the host's disks are no business of ours
echo 0123456789abcdef0123456789abcdef > etc/machine-id

ip link set lo up
pivot_root . oldroot
cd /
umount -l /oldroot
# Credentials are mounted in one namespace, and have to be seen in another.
mount --make-rshared /
exec setpriv --bounding-set=-sys_time,-sys_module,-sys_boot,-sys_rawio,-syslog \
    env -i container=rotator-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /usr/lib/systemd/systemd --system --unit=machine.target --log-target=null --show-status=no
