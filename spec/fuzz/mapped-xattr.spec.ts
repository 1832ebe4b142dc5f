import { fuzzLocal } from './local.js';

fuzzLocal('mapped-xattr');
