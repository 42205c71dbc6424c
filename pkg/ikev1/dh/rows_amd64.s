//go:build !purego

#include "textflag.h"

// The innermost step of a row: the limb at off(DI) += the limb at off(SI) * DX + in + the two carries. CF carries the sum of the
// products, OF that of the limbs: two chains which do not wait for each other. The product's upper limb goes to out.
#define LIMB(off, in, out) \
	MULXQ off(SI), R8, out \
	ADCXQ in, R8           \
	ADOXQ off(DI), R8      \
	MOVQ  R8, off(DI)

// One row: the limbs at DI += those at SI times DX, for CX times 8 limbs. In the end BX is the limb to carry out, DI stands behind
// the row, CX is 0. Nothing between the limbs may touch CF or OF, so the loop counts with LEAQ and JCXZQ. The number of rounds is
// the group's, and no secret.
#define ROW(loop, done) \
	XORQ BX, BX        \
loop:                      \
	LIMB(0, BX, R9)    \
	LIMB(8, R9, BX)    \
	LIMB(16, BX, R9)   \
	LIMB(24, R9, BX)   \
	LIMB(32, BX, R9)   \
	LIMB(40, R9, BX)   \
	LIMB(48, BX, R9)   \
	LIMB(56, R9, BX)   \
	LEAQ 64(SI), SI    \
	LEAQ 64(DI), DI    \
	LEAQ -1(CX), CX    \
	JCXZQ done         \
	JMP  loop          \
done:                      \
	ADCXQ CX, BX       \
	ADOXQ CX, BX

// func mulRowsADX(z, x, y *uint64, n, rows int)
TEXT ·mulRowsADX(SB), NOSPLIT, $0-40
	MOVQ z+0(FP), R10
	MOVQ x+8(FP), R11
	MOVQ y+16(FP), R12
	MOVQ n+24(FP), R13
	MOVQ rows+32(FP), AX
	SHRQ $3, R13

row:
	MOVQ (R12), DX
	MOVQ R10, DI
	MOVQ R11, SI
	MOVQ R13, CX
	ROW(loop, done)
	MOVQ BX, (DI)
	ADDQ $8, R10
	ADDQ $8, R12
	DECQ AX
	JNZ  row
	RET

// func reduceRowsADX(z, p *uint64, n int) (carry uint64)
TEXT ·reduceRowsADX(SB), NOSPLIT, $0-32
	MOVQ z+0(FP), R10
	MOVQ p+8(FP), R11
	MOVQ n+16(FP), AX
	MOVQ AX, R13
	SHRQ $3, R13
	XORQ R12, R12 // what is carried beyond the limb behind the last row

row:
	MOVQ (R10), DX
	MOVQ R10, DI
	MOVQ R11, SI
	MOVQ R13, CX
	ROW(loop, done)
	ADDQ R12, BX
	ADCQ $0, CX
	ADDQ BX, (DI)
	ADCQ $0, CX
	MOVQ CX, R12
	ADDQ $8, R10
	DECQ AX
	JNZ  row
	MOVQ R12, carry+24(FP)
	RET
