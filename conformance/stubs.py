"""Makes stand-ins for CUDA's libraries, so that PyPI's torch for Linux can be imported without their two gigabytes.

stubs.py VENV. Every function of a stand-in returns 1; none is called, since everything is computed on the processor.
"""
import collections, glob, os, re, shutil, subprocess, sys
absent = [tool for tool in ("gcc", "nm", "readelf") if not shutil.which(tool)]
if absent: sys.exit(f"not installed: {', '.join(absent)} (Debian: gcc and binutils)")
SP = glob.glob(os.path.abspath(sys.argv[1]) + "/lib/python3*/site-packages")[0]
OUT = SP + "/nvidia/cu13/lib"
os.chdir(sys.argv[1])
os.makedirs(OUT, exist_ok=True)
libs = "libcusparse.so.12 libcufft.so.12 libcufile.so.0 libcusparseLt.so.0 libnccl.so.2 libcublas.so.13 libcublasLt.so.13 libcudnn.so.9 libnvrtc.so.13 libnvshmem_host.so.3 libcupti.so.13 libcusolver.so.12".split()
run = lambda *a: subprocess.run(a, capture_output=True, text=True).stdout
torch = glob.glob(SP + "/torch/lib/*.so")
versions = collections.defaultdict(set)  # lib -> version names
for f in torch:
    lib = None
    for line in run("readelf", "-VW", f).splitlines():
        m = re.search(r"File: (\S+)", line)
        if m: lib = m.group(1)
        m = re.search(r"Name: (\S+)\s+Flags", line)
        if m and lib in libs: versions[lib].add(m.group(1))
lib_of = {v: lib for lib, vs in versions.items() for v in vs}
defined, wanted = set(), set()
for f in torch:
    for line in run("nm", "-D", "--defined-only", f).splitlines(): defined.add(line.split()[-1].split("@")[0])
    for line in run("nm", "-D", "--undefined-only", f).splitlines(): wanted.add(line.split()[-1])
by = collections.defaultdict(lambda: collections.defaultdict(set))
for w in wanted:
    name, _, version = w.partition("@")
    version = version.lstrip("@")
    if version in lib_of: by[lib_of[version]][version].add(name)
    elif not version and name not in defined and re.match(r"(cu|nccl|nvrtc|nvshmem|CU)", name) and not re.match("cuda[A-Z]", name):
        by["rest"][""].add(name)
prefix = {"cudnn": "libcudnn.so.9", "nccl": "libnccl.so.2", "nvrtc": "libnvrtc.so.13", "nvshmem": "libnvshmem_host.so.3", "cupti": "libcupti.so.13", "cufft": "libcufft.so.12", "cuFile": "libcufile.so.0", "cusparseLt": "libcusparseLt.so.0", "cusolver": "libcusolver.so.12", "cusparse": "libcusparse.so.12", "cublasLt": "libcublasLt.so.13", "cublas": "libcublas.so.13"}
for name in by.pop("rest", {}).get("", ()):
    for p, lib in sorted(prefix.items(), key=lambda x: -len(x[0])):
        if name.startswith(p): by[lib][""].add(name); break
for lib in libs:
    names = by[lib]
    with open("stub.c", "w") as c:
        for vs in names.values():
            for n in vs: c.write(f"int {n}(void){{return 1;}}\n")
    args = ["gcc", "-shared", "-fPIC", "-w", "-o", f"{OUT}/{lib}", "stub.c", f"-Wl,-soname,{lib}"]
    script = "".join(f"{v} {{ global: {' '.join(n + ';' for n in names.get(v, ()))} }};\n" for v in versions[lib])
    if script:
        open("stub.map", "w").write(script); args.append("-Wl,--version-script=stub.map")
    r = subprocess.run(args, capture_output=True, text=True)
    if r.returncode: sys.exit(f"{lib}: {r.stderr[-300:]}")
