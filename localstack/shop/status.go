package shop

// Status is what a customer is told about an order.
type Status string

// The statuses of an order.
const (
	StatusIncomplete      Status = "incomplete"
	StatusPlaced          Status = "placed"
	StatusPaid            Status = "paid"
	StatusPartlyShipped   Status = "partly_shipped"
	StatusShipped         Status = "shipped"
	StatusPartlyDelivered Status = "partly_delivered"
	StatusDelivered       Status = "delivered"
	StatusRefunded        Status = "refunded"
	StatusCancelled       Status = "cancelled"
)

// status tells where an order stands from the facts that are known of it, in any order.
func status(facts []any) Status {
	var (
		isPlaced, isCancelled         bool
		ordered, total, paidSum, back int64
		packed                        = make(map[string]int64) // units by parcel
		arrived                       = make(map[string]bool)  // parcels
	)
	for _, fact := range facts {
		switch f := fact.(type) {
		case placed:
			isPlaced = true
			ordered, total = f.units(), f.totalMinor()
		case paid:
			paidSum += f.amountMinor
		case shipped:
			packed[f.parcel] = f.units()
		case delivered:
			arrived[f.parcel] = true
		case cancelled:
			isCancelled = true
		case refunded:
			back += f.amountMinor
		}
	}
	var shippedUnits, deliveredUnits int64
	for parcel, units := range packed {
		shippedUnits += units
		if arrived[parcel] {
			deliveredUnits += units
		}
	}

	switch {
	case !isPlaced:
		return StatusIncomplete
	case isCancelled:
		return StatusCancelled
	case paidSum > 0 && back >= paidSum:
		return StatusRefunded
	case deliveredUnits >= ordered:
		return StatusDelivered
	case len(arrived) > 0:
		return StatusPartlyDelivered
	case shippedUnits >= ordered:
		return StatusShipped
	case shippedUnits > 0:
		return StatusPartlyShipped
	case paidSum >= total:
		return StatusPaid
	default:
		return StatusPlaced
	}
}

func (p placed) units() int64 {
	sum := int64(0)
	for _, l := range p.lines {
		sum += l.quantity
	}
	return sum
}

func (p placed) totalMinor() int64 {
	sum := int64(0)
	for _, l := range p.lines {
		sum += l.quantity * l.priceMinor
	}
	return sum
}

func (s shipped) units() int64 {
	sum := int64(0)
	for _, l := range s.lines {
		sum += l.quantity
	}
	return sum
}
