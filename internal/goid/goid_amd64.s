#include "textflag.h"

// The two loads that find the g are get_tls and g of runtime/go_tls.h. In
// this form the assembler knows how to adapt them to every system, including
// those that keep the g in a slot allocated when the program starts. R14,
// where compiled Go code has the g, is not defined here: this is ABI0.

// func word(offset uintptr) uint64
TEXT ·word(SB), NOSPLIT, $0-16
	MOVQ	offset+0(FP), AX
	MOVQ	TLS, CX
	MOVQ	0(CX)(TLS*1), CX
	MOVQ	(CX)(AX*1), AX
	MOVQ	AX, ret+8(FP)
	RET
