package images

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"runtime"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Pause is the image of pod sandboxes. It is made here, out of nothing: a machine needs no registry to run its first pod.
const Pause = "tenet.run/pause:2"

// pauseMountpoints are what every sandbox has mounted. What the image had not, runc would make on the disk, for each pod.
var pauseMountpoints = []string{"dev/", "etc/", "etc/resolv.conf", "proc/", "sys/"}

// EnsurePause imports the pause image when it is missing.
func EnsurePause(ctx context.Context, c *containerd.Client) error {
	ctx = namespaces.WithNamespace(ctx, Namespace)
	img, err := c.GetImage(ctx, Pause)
	if err == nil {
		if s, err := snapshotter(ctx, c); err == nil {
			if ok, err := img.IsUnpacked(ctx, s); err == nil && ok {
				return nil
			}
		}
	} else if !errdefs.IsNotFound(err) {
		return err
	}
	program, err := pauseProgram(runtime.GOARCH)
	if err != nil {
		return err
	}
	var archive bytes.Buffer
	image := Archive{Name: Pause, Layer: Program("pause", program, pauseMountpoints...), Config: ocispec.ImageConfig{Entrypoint: []string{"/pause"}, User: "65535:65535"}}
	if _, err := image.WriteTo(&archive); err != nil {
		return err
	}
	_, err = Import(ctx, c, &archive)
	return err
}

// pauseProgram is a static ELF executable that does what a sandbox's first process must, and nothing else: hold the namespaces, reap orphans
// (it is process 1 of a pod that shares its process namespace), and end on SIGTERM or SIGINT.
func pauseProgram(arch string) ([]byte, error) {
	code, machine := pauseAMD64(), uint16(62)
	switch arch {
	case "amd64":
	case "arm64":
		code, machine = pauseARM64(), 183
	default:
		return nil, fmt.Errorf("no pause program for %s", arch)
	}
	const base, headers = 0x400000, 64 + 56 // one ELF header, one program header
	size := uint64(headers + len(code))
	elf := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0} // 64 bit, little endian
	le := binary.LittleEndian
	elf = le.AppendUint16(elf, 2) // executable
	elf = le.AppendUint16(elf, machine)
	elf = le.AppendUint32(elf, 1)
	elf = le.AppendUint64(elf, base+headers) // entry
	elf = le.AppendUint64(elf, 64)           // program headers follow
	elf = le.AppendUint64(elf, 0)            // no sections
	elf = le.AppendUint32(elf, 0)
	for _, v := range []uint16{64, 56, 1, 64, 0, 0} { // sizes and counts of headers
		elf = le.AppendUint16(elf, v)
	}
	elf = le.AppendUint32(elf, 1)                                   // PT_LOAD
	elf = le.AppendUint32(elf, 5)                                   // read, execute
	for _, v := range []uint64{0, base, base, size, size, 0x1000} { // offset, addresses, sizes, alignment
		elf = le.AppendUint64(elf, v)
	}
	return append(elf, code...), nil
}

// The set of signals, as a bit mask: INT (2), TERM (15), CHLD (17).
const pauseSignals = 1<<(2-1) | 1<<(15-1) | 1<<(17-1)

func pauseAMD64() []byte {
	mask := []byte{
		0x68, pauseSignals & 0xff, pauseSignals >> 8 & 0xff, pauseSignals >> 16 & 0xff, 0, // push set
		0x6a, 14, 0x58, //        mov eax, rt_sigprocmask
		0x31, 0xff, //            mov edi, SIG_BLOCK
		0x48, 0x89, 0xe6, //      mov rsi, rsp (the set)
		0x31, 0xd2, //            mov edx, 0
		0x6a, 8, 0x41, 0x5a, //   mov r10, 8 (size of the set)
		0x0f, 0x05, //            syscall
	}
	wait := []byte{
		0xb8, 128, 0, 0, 0, //    mov eax, rt_sigtimedwait
		0x48, 0x89, 0xe7, //      mov rdi, rsp
		0x31, 0xf6, //            mov esi, 0 (no siginfo)
		0x31, 0xd2, //            mov edx, 0 (no timeout)
		0x6a, 8, 0x41, 0x5a, //   mov r10, 8
		0x0f, 0x05, //            syscall
	}
	exit := []byte{
		0x31, 0xff, //            mov edi, 0
		0xb8, 231, 0, 0, 0, //    mov eax, exit_group
		0x0f, 0x05, //            syscall
	}
	reap := []byte{
		0x6a, 61, 0x58, //        mov eax, wait4
		0x6a, 0xff, 0x5f, //      mov rdi, -1 (any child)
		0x31, 0xf6, //            mov esi, 0
		0x6a, 1, 0x5a, //         mov rdx, WNOHANG
		0x45, 0x31, 0xd2, //      mov r10d, 0
		0x0f, 0x05, //            syscall
		0x85, 0xc0, //            test eax, eax
	}
	// Laid out as mask, wait, three comparisons, exit, reap, and two branches back. Jumps are relative to the end of their own instruction.
	const compare, jump = 5, 2 // cmp eax, imm8 with its conditional jump; a jump alone
	waitAt := len(mask)
	exitAt := waitAt + len(wait) + 3*compare
	reapAt := exitAt + len(exit)
	code := append(mask, wait...)
	on := func(result, condition byte, to int) {
		code = append(code, 0x83, 0xf8, result, condition, byte(to-len(code)-compare))
	}
	back := func(opcode byte, to int) { code = append(code, opcode, byte(to-len(code)-jump)) }
	const equal, notEqual, greater, always = 0x74, 0x75, 0x7f, 0xeb
	on(17, equal, reapAt)   //      SIGCHLD
	on(15, equal, exitAt)   //      SIGTERM
	on(2, notEqual, waitAt) //    SIGINT goes on to exit
	code = append(append(code, exit...), reap...)
	back(greater, reapAt) //      one reaped: perhaps there is another
	back(always, waitAt)
	return code
}

func pauseARM64() []byte {
	const wait, exit, reap = 10, 22, 25 // labels, as indices of instructions
	branch := func(from, to int, cond uint32) uint32 { return 0x54000000 | uint32(to-from)&0x7ffff<<5 | cond }
	const eq, ne, gt = 0, 1, 12
	code := []uint32{
		0xd10043ff,                          // sub  sp, sp, #16
		0xd2800009 | pauseSignals&0xffff<<5, // mov  x9, set
		0xf2a00009 | pauseSignals>>16<<5,    // movk x9, set, lsl #16
		0xf90003e9,                          // str  x9, [sp]
		0xd2800008 | 135<<5,                 // mov  x8, rt_sigprocmask
		0xd2800000,                          // mov  x0, SIG_BLOCK
		0x910003e1,                          // mov  x1, sp
		0xd2800002,                          // mov  x2, 0
		0xd2800003 | 8<<5,                   // mov  x3, 8
		0xd4000001,                          // svc
		0xd2800008 | 137<<5,                 // wait: mov x8, rt_sigtimedwait
		0x910003e0,                          // mov  x0, sp
		0xd2800001,                          // mov  x1, 0
		0xd2800002,                          // mov  x2, 0
		0xd2800003 | 8<<5,                   // mov  x3, 8
		0xd4000001,                          // svc
		0xf100001f | 17<<10,                 // cmp  x0, SIGCHLD
		branch(17, reap, eq),                //
		0xf100001f | 15<<10,                 // cmp  x0, SIGTERM
		branch(19, exit, eq),                //
		0xf100001f | 2<<10,                  // cmp  x0, SIGINT
		branch(21, wait, ne),                //
		0xd2800000,                          // exit: mov x0, 0
		0xd2800008 | 94<<5,                  // mov  x8, exit_group
		0xd4000001,                          // svc
		0xd2800008 | 260<<5,                 // reap: mov x8, wait4
		0x92800000,                          // mov  x0, -1
		0xd2800001,                          // mov  x1, 0
		0xd2800002 | 1<<5,                   // mov  x2, WNOHANG
		0xd2800003,                          // mov  x3, 0
		0xd4000001,                          // svc
		0xf100001f,                          // cmp  x0, 0
		branch(32, reap, gt),                //
		0x14000000 | (1<<26 - (33 - wait)),  // b    wait
	}
	var b []byte
	for _, w := range code {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}
