// Package admissionregistration has the kinds of admissionregistration.k8s.io: who else is asked before something is written. Expressions (CEL) are compiled when
// they are written, so that what is wrong with them is said then; nothing of that is kept.
package admissionregistration
