package apiserver

// growStack makes the stack of a request's goroutine large at once. Decoding, validation and encoding need some 16 KiB; growing to that by doubling copies the stack
// four times, which was 4 % of what a create costs. The array is what makes the frame large; it is not otherwise used.
//
//go:noinline
func growStack() byte {
	var frame [20 << 10]byte
	return frame[len(frame)/2+int(zero)]
}

// zero keeps the compiler from seeing through growStack.
var zero byte
