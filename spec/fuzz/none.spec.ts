import { fuzzLocal } from './local.js';

fuzzLocal('none');
