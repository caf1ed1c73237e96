package storetest_test

import (
	"testing"

	"penstock/checkpoint/storetest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Backend { return &storetest.Memory{} })
}

func TestMemoryItemsKeepTheContract(t *testing.T) {
	storetest.RunItems(t, func(*testing.T) storetest.ItemStore { return &storetest.Items{} })
}
