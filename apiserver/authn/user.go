package authn

import "k8s.io/apiserver/pkg/authentication/user"

// withAuthenticated is a user in the group of all who said who they are.
type withAuthenticated struct {
	user.Info
	groups []string
}

func (u withAuthenticated) GetGroups() []string { return u.groups }
