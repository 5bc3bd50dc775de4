// LD_PRELOAD library: the process sees an x86-64 CPU without AVX-512, AVX-VNNI and AMX, whatever it has, so that peers which
// cannot be told otherwise use AVX2; with PEERS_HIDE=amx a CPU that lacks AMX alone. Linux on a CPU that can fault on CPUID (most Intel since
// Ivy Bridge).
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static int only_amx;

static void emulate(int signal, siginfo_t *info, void *context) {
    (void)info;
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *code = (const unsigned char *)regs[REG_RIP];
    if (code[0] != 0x0f || code[1] != 0xa2) {
        // A real fault: let it happen again, unhandled.
        struct sigaction act = {.sa_handler = SIG_DFL};
        sigaction(signal, &act, NULL);
        return;
    }
    unsigned leaf = regs[REG_RAX], sub = regs[REG_RCX], a, b, c, d;
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
    __cpuid_count(leaf, sub, a, b, c, d);
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
    // Bits as Intel's manual (volume 2, CPUID) numbers them.
    if (leaf == 7 && only_amx) {
        if (sub == 0) d &= ~(1u << 22 | 1u << 24 | 1u << 25);
        if (sub == 1) a &= ~(1u << 21), d &= ~(1u << 8);
    } else if (leaf == 7 && sub == 0) {
        b &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31);
        c &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14);
        d &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25);
    } else if (leaf == 7 && sub == 1) {
        a &= ~(1u << 4 | 1u << 5 | 1u << 21 | 1u << 22 | 1u << 23);
        d = 0;
    }
    regs[REG_RAX] = a, regs[REG_RBX] = b, regs[REG_RCX] = c, regs[REG_RDX] = d;
    regs[REG_RIP] += 2;
}

__attribute__((constructor)) static void start(void) {
    const char *hide = getenv("PEERS_HIDE");
    only_amx = hide && strcmp(hide, "amx") == 0;
    struct sigaction act = {.sa_sigaction = emulate, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &act, NULL);
    if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) != 0) {
        perror("mask_cpuid: this CPU cannot fault on CPUID");
        exit(1);
    }
}
