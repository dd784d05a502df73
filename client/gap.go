package client

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// isGap reports that a watch ended because its reader or its revision fell behind: start again from a list.
func isGap(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err)
}
