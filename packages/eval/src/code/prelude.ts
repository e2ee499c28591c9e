/**
 * What Python runs before a program that nobody has read: a root of its own with Python alone in it, no capabilities, limits. Everything
 * in here is undone by nothing that the program can do without a fault of the kernel. Source: mount(2), pivot_root(2), user_namespaces(7),
 * capabilities(7), prctl(2).
 */

/** Arguments: seconds of processor, bytes of memory, bytes of the program, and `root` where it is to have a root of its own. */
export const prelude = `import os, resource, sys

def limit(kind, value):
    resource.setrlimit(kind, (value, value))

def own_root():
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    def check(status):
        if status != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    def mount(source, target, kind, flags, data=None):
        encode = lambda text: None if text is None else text.encode()
        check(libc.mount(encode(source), encode(target), encode(kind), ctypes.c_ulong(flags), encode(data)))
    RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
    try:
        with open("/proc/sys/user/max_user_namespaces", "w") as file:
            file.write("0")
    except OSError:
        pass
    mount(None, "/", None, REC | PRIVATE)
    root = os.getcwd()
    mount("none", root, "tmpfs", NOSUID | NODEV, "size=16m,nr_inodes=4096,mode=755")
    def place(path, is_file=False):
        target = root + path
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.islink(path):
            if not os.path.lexists(target):
                os.symlink(os.readlink(path), target)
            return
        if is_file:
            open(target, "w").close()
        else:
            os.makedirs(target, exist_ok=True)
        mount(path, target, None, BIND | REC)
        with open("/proc/self/mountinfo") as file:
            points = [line.split(" ")[4].encode().decode("unicode_escape") for line in file]
        for point in points:
            if point == target or point.startswith(target + "/"):
                kept = os.statvfs(point).f_flag & (NOSUID | NODEV | NOEXEC)
                mount(None, point, None, REMOUNT | BIND | RDONLY | NOSUID | kept)
    folders = ["/usr", "/bin", "/lib", "/lib64", "/etc/alternatives", sys.prefix, sys.base_prefix, *sys.path]
    placed = []
    for path in map(os.path.abspath, folders):
        if not os.path.isdir(path) or path == "/" or any(path == other or path.startswith(other + "/") for other in placed):
            continue
        placed.append(path)
        place(path)
    for path in ["/dev/null", "/dev/zero", "/dev/urandom", "/etc/ld.so.cache"]:
        if os.path.exists(path):
            place(path, True)
    for path in ["/tmp", "/home"]:
        os.makedirs(root + path, exist_ok=True)
    os.chdir(root)
    check(libc.pivot_root(b".", b"."))
    check(libc.umount2(b".", 2))
    os.chdir("/home")
    for capability in range(64):
        libc.prctl(24, capability, 0, 0, 0)
    libc.prctl(47, 4, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    check(libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)())))
    check(libc.prctl(38, 1, 0, 0, 0))

if sys.argv[4] == "root":
    own_root()
    os.environ["HOME"] = "/home"
limit(resource.RLIMIT_CPU, int(sys.argv[1]))
limit(resource.RLIMIT_AS, int(sys.argv[2]))
limit(resource.RLIMIT_FSIZE, 1 << 20)
limit(resource.RLIMIT_CORE, 0)
try:
    limit(resource.RLIMIT_NPROC, 64)
except (ValueError, OSError):
    pass
source = sys.stdin.buffer.read(int(sys.argv[3]))
sys.argv = ["program"]
exec(compile(source, "program", "exec"), {"__name__": "__main__"})
`;
